// The key vault. It exists only if there is a secret: a key that callers share, or a password of Redis or PostgreSQL.

param name string
param location string
param tags object
param principalId string
param deployerId string
@secure()
param callersKey string
@secure()
param postgresPassword string

var keyVaultSecretsUser = '4633458b-17de-408a-b874-0445c86b69e6'

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
    // The shortest, and no purge protection, so that `azd down --purge` leaves nothing.
    softDeleteRetentionInDays: 7
  }
}

resource callers 'Microsoft.KeyVault/vaults/secrets@2024-11-01' = if (!empty(callersKey)) {
  parent: vault
  name: 'callers-key'
  properties: { value: callersKey }
}

resource postgres 'Microsoft.KeyVault/vaults/secrets@2024-11-01' = if (!empty(postgresPassword)) {
  parent: vault
  name: 'postgres-password'
  properties: { value: postgresPassword }
}

resource relayMayRead 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, principalId, keyVaultSecretsUser)
  scope: vault
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', keyVaultSecretsUser)
  }
}

resource deployerMayRead 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(deployerId)) {
  name: guid(vault.id, deployerId, keyVaultSecretsUser)
  scope: vault
  properties: {
    principalId: deployerId
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', keyVaultSecretsUser)
  }
}
