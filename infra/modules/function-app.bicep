// The relay on Azure Functions, Flex Consumption. azd finds the app by its tag and deploys the package to it.

param name string
param planName string
param location string
param tags object
param identityName string
param storageName string
param vaultName string
param settings object
param secrets object
param instanceMemoryMB int
param instanceConcurrency int
param maximumInstances int
param alwaysReadyInstances int
param updateStrategy string
param subnetId string

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: identityName
}

resource storage 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: storageName
}

// The host needs blobs only: there are no timers, queues or durable functions.
var platform = {
  AzureWebJobsStorage__blobServiceUri: storage.properties.primaryEndpoints.blob
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identity.properties.clientId
  AzureWebJobsDisableHomepage: 'true'
}
var instances = { CHUKEI_STORES__REPLICAS: string(maximumInstances) }
var values = map(items(union(platform, instances, settings)), entry => { name: entry.key, value: entry.value })
var references = map(items(secrets), entry => {
  name: entry.key
  value: '@Microsoft.KeyVault(VaultName=${vaultName};SecretName=${entry.value})'
})

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: { reserved: true }
}

resource app 'Microsoft.Web/sites@2024-11-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'api' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identity.id}': {} }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    keyVaultReferenceIdentity: identity.id
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    functionAppConfig: {
      runtime: {
        name: 'python'
        version: '3.13'
      }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storage.properties.primaryEndpoints.blob}packages'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identity.id
          }
        }
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstances
        alwaysReady: alwaysReadyInstances == 0 ? [] : [{ name: 'http', instanceCount: alwaysReadyInstances }]
        // A stream mostly waits. The plan's default for Python is one request for each instance.
        triggers: { http: { perInstanceConcurrency: instanceConcurrency } }
      }
      // With RollingUpdate running streams may end before their instance is replaced. Bicep's types do not have it yet.
      #disable-next-line BCP037
      siteUpdateStrategy: { type: updateStrategy }
    }
    siteConfig: {
      minTlsVersion: '1.2'
      appSettings: concat(values, references)
    }
  }
}

resource noPasswordForFtp 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: app
  name: 'ftp'
  properties: { allow: false }
}

resource noPasswordForScm 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: app
  name: 'scm'
  properties: { allow: false }
}

output url string = 'https://${app.properties.defaultHostName}'
