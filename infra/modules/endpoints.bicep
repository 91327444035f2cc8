// A private endpoint for each resource that has a name here.

param networkName string
param subnetId string
param location string
param tags object
param storageName string
param accountName string
param redisName string
param postgresName string

module storage 'private-endpoint.bicep' = if (!empty(storageName)) {
  name: 'endpoint-storage'
  params: {
    name: 'pe-${storageName}'
    location: location
    tags: tags
    networkName: networkName
    subnetId: subnetId
    targetId: resourceId('Microsoft.Storage/storageAccounts', storageName)
    groupId: 'blob'
    zones: ['privatelink.blob.${environment().suffixes.storage}']
  }
}

module account 'private-endpoint.bicep' = if (!empty(accountName)) {
  name: 'endpoint-account'
  params: {
    name: 'pe-${accountName}'
    location: location
    tags: tags
    networkName: networkName
    subnetId: subnetId
    targetId: resourceId('Microsoft.CognitiveServices/accounts', accountName)
    groupId: 'account'
    zones: [
      'privatelink.openai.azure.com'
      'privatelink.cognitiveservices.azure.com'
      'privatelink.services.ai.azure.com'
    ]
  }
}

module redis 'private-endpoint.bicep' = if (!empty(redisName)) {
  name: 'endpoint-redis'
  params: {
    name: 'pe-${redisName}'
    location: location
    tags: tags
    networkName: networkName
    subnetId: subnetId
    targetId: resourceId('Microsoft.Cache/redisEnterprise', redisName)
    groupId: 'redisEnterprise'
    zones: ['privatelink.redis.azure.net']
  }
}

module postgres 'private-endpoint.bicep' = if (!empty(postgresName)) {
  name: 'endpoint-postgres'
  params: {
    name: 'pe-${postgresName}'
    location: location
    tags: tags
    networkName: networkName
    subnetId: subnetId
    targetId: resourceId('Microsoft.DBforPostgreSQL/flexibleServers', postgresName)
    groupId: 'postgresqlServer'
    zones: ['privatelink.postgres.database.azure.com']
  }
}
