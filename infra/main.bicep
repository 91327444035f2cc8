// What `azd up` creates: the relay as a function app, as a container app, or as both, with everything it needs.
// docs/deploy-azure.md explains the parameters; main.parameters.json takes them from the azd environment.
targetScope = 'subscription'

@minLength(1)
@maxLength(64)
@description('The name of the azd environment. The names of all resources are made from it.')
param environmentName string

@minLength(1)
@description('The region of all resources.')
@metadata({ azd: { type: 'location' } })
param location string

@description('The object id of whoever deploys. It may read the secrets of the key vault. Empty: nobody may.')
param principalId string = ''

@description('Create the function app.')
param deployFunction bool = true

@description('Create the container app.')
param deployContainerApp bool = false

@description('The image of the container app, which azd sets once it has built one. Empty: a placeholder.')
param containerImage string = ''

@description('Existing deployments of models instead of a new account: name, account, model and settings of each.')
param existingDeployments array = []

@description('The model of the new account.')
param modelName string

@description('The version of the model.')
param modelVersion string

@description('The type of the deployment, such as GlobalStandard or DataZoneStandard.')
param modelSku string

@minValue(1)
@description('The quota of the deployment, in thousands of tokens per minute.')
param modelCapacity int

@allowed(['key', 'entra', 'key-and-entra'])
@description('How callers authenticate: by a key that all share, by Entra ID access tokens, or by either.')
param callers string = 'key'

@description('The client id of the app registration for which callers get tokens. Needed unless callers is key.')
param entraAudience string = ''

@secure()
@description('The key that callers share. azd makes it, and reads it from the key vault later.')
param callersKey string = ''

@allowed([512, 2048, 4096])
@description('The memory of an instance of the function app.')
param instanceMemoryMB int = 2048

@minValue(1)
@maxValue(1000)
@description('Requests, and so open streams, on one instance of the function app.')
param instanceConcurrency int = 50

@minValue(1)
@maxValue(1000)
@description('Instances of the function app, at most.')
param maximumInstances int = 40

@minValue(0)
@description('Instances of the function app that are always ready, and always paid for.')
param alwaysReadyInstances int = 0

@allowed(['RollingUpdate', 'Recreate'])
@description('How instances of the function app are replaced: one after the other (a preview), or all at once.')
param updateStrategy string = 'RollingUpdate'

@minValue(0)
@description('Replicas of the container app, at least. With 0 the first request after a pause waits for a start.')
param minReplicas int = 1

@minValue(1)
@description('Replicas of the container app, at most.')
param maxReplicas int = 10

@minValue(1)
@description('Concurrent requests for each replica, above which the container app gets another one.')
param replicaConcurrency int = 50

@description('Reach storage, the new account, Redis and PostgreSQL through private endpoints only.')
param isolateNetwork bool = false

@description('Create an Azure Managed Redis, for limits and states of deployments that replicas share.')
param useRedis bool = false

@description('The size of Redis.')
param redisSku string = 'Balanced_B0'

@description('Create a PostgreSQL server, for the ledger and callers\' own keys.')
param usePostgres bool = false

@description('The size of the PostgreSQL server, of the burstable tier.')
param postgresSku string = 'Standard_B1ms'

@secure()
@description('The password of the PostgreSQL administrator. azd makes it, and reads it from the key vault later.')
param postgresPassword string = ''

@description('More settings of the relay: the name of a variable, such as CHUKEI_LOG__LEVEL, and the value of each.')
param settings array = []

var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }
var vaultName = 'kv-${token}'
var newAccount = empty(existingDeployments)
var withKey = callers != 'entra'
// Both forms of an audience are made from it.
var clientId = replace(entraAudience, 'api://', '')
var withVault = withKey || useRedis || usePostgres
// Two deployments of one account need one role assignment.
var existingAccounts = union(map(existingDeployments, item => toLower(item.account)), [])

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: 'id-${token}'
    location: location
    tags: tags
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    workspaceName: 'log-${token}'
    componentName: 'appi-${token}'
    location: location
    tags: tags
    principalId: identity.outputs.principalId
  }
}

module network 'modules/network.bicep' = if (isolateNetwork) {
  name: 'network'
  scope: group
  params: {
    name: 'vnet-${token}'
    location: location
    tags: tags
  }
}

module account 'modules/account.bicep' = if (newAccount) {
  name: 'account'
  scope: group
  params: {
    name: 'ai-${token}'
    location: location
    tags: tags
    principalId: identity.outputs.principalId
    modelName: modelName
    modelVersion: modelVersion
    modelSku: modelSku
    modelCapacity: modelCapacity
    isolated: isolateNetwork
  }
}

module existingAccess 'modules/existing-access.bicep' = [for (id, index) in existingAccounts: {
  name: 'existing-access-${index}'
  scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
  params: {
    accountName: split(id, '/')[8]
    principalId: identity.outputs.principalId
  }
}]

module vault 'modules/vault.bicep' = if (withVault) {
  name: 'vault'
  scope: group
  params: {
    name: vaultName
    location: location
    tags: tags
    principalId: identity.outputs.principalId
    deployerId: principalId
    callersKey: withKey ? callersKey : ''
    postgresPassword: usePostgres ? postgresPassword : ''
  }
}

module redis 'modules/redis.bicep' = if (useRedis) {
  name: 'redis'
  scope: group
  params: {
    name: 'redis-${token}'
    location: location
    tags: tags
    sku: redisSku
    vaultName: vaultName
    isolated: isolateNetwork
  }
  dependsOn: [vault]
}

module postgres 'modules/postgres.bicep' = if (usePostgres) {
  name: 'postgres'
  scope: group
  params: {
    name: 'psql-${token}'
    location: location
    tags: tags
    sku: postgresSku
    password: postgresPassword
    vaultName: vaultName
    isolated: isolateNetwork
  }
  dependsOn: [vault]
}

module relaySettings 'modules/settings.bicep' = {
  name: 'settings'
  scope: group
  params: {
    accountName: newAccount ? 'ai-${token}' : ''
    modelName: modelName
    existingDeployments: existingDeployments
    identityClientId: identity.outputs.clientId
    connectionString: monitoring.outputs.connectionString
    withKey: withKey
    entraTenant: callers == 'key' ? '' : tenant().tenantId
    entraAudience: clientId
    useRedis: useRedis
    usePostgres: usePostgres
    more: settings
  }
}

module storage 'modules/storage.bicep' = if (deployFunction) {
  name: 'storage'
  scope: group
  params: {
    name: 'st${token}'
    location: location
    tags: tags
    principalId: identity.outputs.principalId
    isolated: isolateNetwork
  }
}

module functionApp 'modules/function-app.bicep' = if (deployFunction) {
  name: 'function-app'
  scope: group
  params: {
    name: 'func-${token}'
    planName: 'plan-${token}'
    location: location
    tags: tags
    identityName: 'id-${token}'
    storageName: 'st${token}'
    vaultName: vaultName
    settings: relaySettings.outputs.settings
    secrets: relaySettings.outputs.secrets
    instanceMemoryMB: instanceMemoryMB
    instanceConcurrency: instanceConcurrency
    maximumInstances: maximumInstances
    alwaysReadyInstances: alwaysReadyInstances
    updateStrategy: updateStrategy
    subnetId: isolateNetwork ? network.outputs.functionsSubnetId : ''
  }
  dependsOn: [storage, vault, redis, postgres, account, existingAccess, endpoints]
}

module containerApp 'modules/container-app.bicep' = if (deployContainerApp) {
  name: 'container-app'
  scope: group
  params: {
    name: 'relay-${token}'
    environmentName: 'cae-${token}'
    registryName: 'cr${token}'
    location: location
    tags: tags
    identityName: 'id-${token}'
    workspaceName: 'log-${token}'
    vaultName: vaultName
    image: containerImage
    settings: relaySettings.outputs.settings
    secrets: relaySettings.outputs.secrets
    minReplicas: minReplicas
    maxReplicas: maxReplicas
    replicaConcurrency: replicaConcurrency
    subnetId: isolateNetwork ? network.outputs.containersSubnetId : ''
  }
  dependsOn: [vault, redis, postgres, account, existingAccess, endpoints]
}

module endpoints 'modules/endpoints.bicep' = if (isolateNetwork) {
  name: 'endpoints'
  scope: group
  params: {
    networkName: 'vnet-${token}'
    subnetId: isolateNetwork ? network.outputs.endpointsSubnetId : ''
    location: location
    tags: tags
    storageName: deployFunction ? 'st${token}' : ''
    accountName: newAccount ? 'ai-${token}' : ''
    redisName: useRedis ? 'redis-${token}' : ''
    postgresName: usePostgres ? 'psql-${token}' : ''
  }
  dependsOn: [storage, account, redis, postgres]
}

output AZURE_RESOURCE_GROUP string = group.name
output AZURE_KEY_VAULT_NAME string = withVault ? vaultName : ''
output AZURE_CONTAINER_REGISTRY_ENDPOINT string = deployContainerApp ? containerApp.outputs.registryEndpoint : ''
output RELAY_FUNCTION_URL string = deployFunction ? functionApp.outputs.url : ''
output RELAY_CONTAINER_URL string = deployContainerApp ? containerApp.outputs.url : ''
output RELAY_CALLERS string = callers
output RELAY_ENTRA_AUDIENCE string = clientId
