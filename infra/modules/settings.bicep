// The relay's configuration as variables; docs/configuration.md explains each. Both hosts get the same.

param accountName string
param modelName string
param existingDeployments array
param identityClientId string
param connectionString string
param withKey bool
param entraTenant string
param entraAudience string
param useRedis bool
param usePostgres bool
param more array

var always = {
  AZURE_CLIENT_ID: identityClientId
  APPLICATIONINSIGHTS_CONNECTION_STRING: connectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'Authorization=AAD;ClientId=${identityClientId}'
}

var newAccount = empty(accountName) ? {} : {
  AZURE_OPENAI_ENDPOINT: 'https://${accountName}.openai.azure.com'
  AZURE_OPENAI_DEPLOYMENT: modelName
}

// A truth value as the relay writes it: the text of true would be True otherwise.
var truths = ['[true]', '[false]']

// `settings` of a deployment are keys of [deployments.NAME], and win over these.
var deployments = map(existingDeployments, item => {
  name: toLower(item.name)
  model: toLower(item.model)
  keys: union(
    {
      endpoint: 'https://${split(item.account, '/')[8]}.openai.azure.com'
      identity: 'true'
      client_id: identityClientId
    },
    item.?settings ?? {}
  )
})
var deploymentLines = flatten(map(deployments, item => map(items(item.keys), entry => {
  name: 'CHUKEI_DEPLOYMENTS__${toUpper(item.name)}__${toUpper(entry.key)}'
  value: contains(truths, string([entry.value])) ? toLower(string(entry.value)) : string(entry.value)
})))
var models = union(map(deployments, item => item.model), [])
var modelLines = map(models, model => {
  name: 'CHUKEI_MODELS__${toUpper(model)}__DEPLOYMENTS'
  value: join(map(filter(deployments, item => item.model == model), item => item.name), ',')
})
var defaultLines = empty(deployments) ? [] : [{ name: 'CHUKEI_DEFAULTS__MODEL', value: deployments[0].model }]
var existing = toObject(concat(deploymentLines, modelLines, defaultLines), line => line.name, line => line.value)

var entra = empty(entraTenant) ? {} : {
  CHUKEI_AUTH__ENTRA__TENANT: entraTenant
  // Empty, the relay says what is missing, and serves nobody.
  CHUKEI_AUTH__ENTRA__AUDIENCE: empty(entraAudience) ? '' : '${entraAudience},api://${entraAudience}'
  CHUKEI_AUTH__ENTRA__SCOPE: 'Relay.Call'
  CHUKEI_AUTH__ENTRA__ROLE: 'Relay.Call'
}

// An instance's disk is lost with the instance.
var ledger = usePostgres ? {} : { CHUKEI_STORES__LEDGER: 'none' }

var others = toObject(
  more,
  item => item.name,
  item => contains(truths, string([item.value])) ? toLower(string(item.value)) : string(item.value)
)

output settings object = union(always, newAccount, existing, entra, ledger, others)

var references = union(
  withKey ? { CHUKEI_API_KEY: 'callers-key' } : {},
  useRedis ? { CHUKEI_STORES__QUOTA: 'redis-url' } : {},
  usePostgres ? { CHUKEI_STORES__LEDGER: 'postgres-url' } : {}
)

// Variables whose values are secrets of the key vault, by their names there. A further setting of the same name wins.
output secrets object = toObject(
  filter(items(references), entry => !contains(map(more, item => item.name), entry.key)),
  entry => entry.key,
  entry => entry.value
)
