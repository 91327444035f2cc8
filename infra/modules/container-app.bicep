// The relay on Azure Container Apps. azd builds the image in the registry, and gives it to the app with this tag.

param name string
param environmentName string
param registryName string
param location string
param tags object
param identityName string
param workspaceName string
param vaultName string
param image string
param settings object
param secrets object
param minReplicas int
param maxReplicas int
param replicaConcurrency int
param subnetId string

var acrPull = '7f951dda-4ed3-4680-a7ca-43fe172d538d'
var port = 7221
var drainSeconds = int(settings.?CHUKEI_SERVER__DRAIN_SECONDS ?? '10')
var graceSeconds = int(settings.?CHUKEI_SERVER__GRACE_SECONDS ?? '300')
// Beside these two the relay needs five seconds: see "Stopping" in docs/deploy-server.md. The platform waits 600 at most.
var terminationSeconds = min(drainSeconds + graceSeconds + 15, 600)

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: identityName
}

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-02-01' existing = {
  name: workspaceName
}

resource registry 'Microsoft.ContainerRegistry/registries@2025-04-01' = {
  name: registryName
  location: location
  tags: tags
  sku: { name: 'Basic' }
  properties: { adminUserEnabled: false }
}

resource mayPull 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(registry.id, identity.id, acrPull)
  scope: registry
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', acrPull)
  }
}

resource environment 'Microsoft.App/managedEnvironments@2025-01-01' = {
  name: environmentName
  location: location
  tags: tags
  properties: {
    // The workspace accepts no key, so logs take the way of diagnostic settings.
    appLogsConfiguration: { destination: 'azure-monitor' }
    workloadProfiles: [{ name: 'Consumption', workloadProfileType: 'Consumption' }]
    vnetConfiguration: empty(subnetId) ? null : { infrastructureSubnetId: subnetId, internal: false }
  }
}

resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'logs'
  scope: environment
  properties: {
    workspaceId: workspace.id
    logs: [
      { category: 'ContainerAppConsoleLogs', enabled: true }
      { category: 'ContainerAppSystemLogs', enabled: true }
    ]
  }
}

var own = {
  CHUKEI_SERVER__DRAIN_SECONDS: string(drainSeconds)
  CHUKEI_SERVER__GRACE_SECONDS: string(graceSeconds)
  CHUKEI_STORES__REPLICAS: string(maxReplicas)
}
var values = map(items(union(own, settings)), entry => { name: entry.key, value: entry.value })
var references = map(items(secrets), entry => { name: entry.key, secretRef: entry.value })
// The placeholder knows none of these paths. The platform refuses a threshold above 30.
var probes = empty(image) ? [] : [
  { type: 'Startup', httpGet: { path: '/health/ready', port: port }, periodSeconds: 2, failureThreshold: 30 }
  { type: 'Readiness', httpGet: { path: '/health/ready', port: port }, periodSeconds: 5, failureThreshold: 1 }
  { type: 'Liveness', httpGet: { path: '/health/live', port: port }, periodSeconds: 10, failureThreshold: 3 }
]

resource app 'Microsoft.App/containerApps@2025-01-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'relay' })
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identity.id}': {} }
  }
  properties: {
    environmentId: environment.id
    workloadProfileName: 'Consumption'
    configuration: {
      // A new revision gets the traffic when it is ready; then the old one stops within its grace period.
      activeRevisionsMode: 'Single'
      ingress: {
        external: true
        allowInsecure: false
        targetPort: port
        transport: 'http'
      }
      registries: [{ server: registry.properties.loginServer, identity: identity.id }]
      secrets: map(items(secrets), entry => {
        name: entry.value
        keyVaultUrl: 'https://${vaultName}${az.environment().suffixes.keyvaultDns}/secrets/${entry.value}'
        identity: identity.id
      })
    }
    template: {
      terminationGracePeriodSeconds: terminationSeconds
      containers: [
        {
          name: 'relay'
          image: empty(image) ? 'mcr.microsoft.com/azuredocs/containerapps-helloworld:latest' : image
          env: concat(values, references)
          probes: probes
          resources: {
            cpu: json('0.5')
            memory: '1Gi'
          }
        }
      ]
      scale: {
        minReplicas: minReplicas
        maxReplicas: maxReplicas
        rules: [{ name: 'streams', http: { metadata: { concurrentRequests: string(replicaConcurrency) } } }]
      }
    }
  }
  dependsOn: [mayPull]
}

output url string = 'https://${app.properties.configuration.ingress.fqdn}'
output registryEndpoint string = registry.properties.loginServer
