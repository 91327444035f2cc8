// PostgreSQL for the ledger. The relay logs in with a password, so the address is a secret of the key vault.

param name string
param location string
param tags object
param sku string
@secure()
param password string
param vaultName string
param isolated bool

// Debian's certificate authorities, in the image of the relay and in that of the Functions platform.
var authorities = '/etc/ssl/certs/ca-certificates.crt'
// Azure wants three kinds of characters, and a password that azd made may lack a digit.
var complexPassword = '${password}aA1'

resource server 'Microsoft.DBforPostgreSQL/flexibleServers@2024-08-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: sku
    tier: 'Burstable'
  }
  properties: {
    version: '17'
    administratorLogin: 'chukei'
    administratorLoginPassword: complexPassword
    authConfig: {
      passwordAuth: 'Enabled'
      activeDirectoryAuth: 'Disabled'
    }
    storage: {
      storageSizeGB: 32
      autoGrow: 'Enabled'
    }
    backup: {
      backupRetentionDays: 7
      geoRedundantBackup: 'Disabled'
    }
    highAvailability: { mode: 'Disabled' }
    network: { publicNetworkAccess: isolated ? 'Disabled' : 'Enabled' }
  }
}

resource database 'Microsoft.DBforPostgreSQL/flexibleServers/databases@2024-08-01' = {
  parent: server
  name: 'chukei'
}

// This range means Azure's own addresses, of all customers: the password and TLS protect the server.
resource fromAzure 'Microsoft.DBforPostgreSQL/flexibleServers/firewallRules@2024-08-01' = if (!isolated) {
  parent: server
  name: 'azure'
  properties: {
    startIpAddress: '0.0.0.0'
    endIpAddress: '0.0.0.0'
  }
  dependsOn: [database]
}

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' existing = {
  name: vaultName
}

var address = '${server.properties.fullyQualifiedDomainName}:5432/${database.name}'
var verified = 'sslmode=verify-full&sslrootcert=${authorities}'

resource url 'Microsoft.KeyVault/vaults/secrets@2024-11-01' = {
  parent: vault
  name: 'postgres-url'
  properties: { value: 'postgresql://chukei:${uriComponent(complexPassword)}@${address}?${verified}' }
}
