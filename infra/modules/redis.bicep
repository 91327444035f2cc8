// Azure Managed Redis. The relay logs in with a password, so the address is a secret of the key vault.

param name string
param location string
param tags object
param sku string
param vaultName string
param isolated bool

resource redis 'Microsoft.Cache/redisEnterprise@2025-07-01' = {
  name: name
  location: location
  tags: tags
  sku: { name: sku }
  properties: {
    minimumTlsVersion: '1.2'
    // The relay counts anew after a failure, and a second node doubles the price.
    highAvailability: 'Disabled'
    publicNetworkAccess: isolated ? 'Disabled' : 'Enabled'
  }
}

resource database 'Microsoft.Cache/redisEnterprise/databases@2025-07-01' = {
  parent: redis
  name: 'default'
  properties: {
    clientProtocol: 'Encrypted'
    port: 10000
    // The relay does not follow redirections, and its scripts use several keys.
    clusteringPolicy: 'NoCluster'
    // A counter that Redis dropped would be a limit that does not hold.
    evictionPolicy: 'NoEviction'
    accessKeysAuthentication: 'Enabled'
  }
}

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' existing = {
  name: vaultName
}

resource url 'Microsoft.KeyVault/vaults/secrets@2024-11-01' = {
  parent: vault
  name: 'redis-url'
  properties: {
    value: 'rediss://:${uriComponent(database.listKeys().primaryKey)}@${redis.properties.hostName}:10000/0'
  }
}
