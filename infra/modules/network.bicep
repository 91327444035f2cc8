// A virtual network with a subnet for each host, and one for private endpoints.

param name string
param location string
param tags object

resource network 'Microsoft.Network/virtualNetworks@2024-07-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: ['10.0.0.0/16'] }
    subnets: [
      {
        name: 'functions'
        properties: {
          addressPrefix: '10.0.0.0/24'
          delegations: [{ name: 'functions', properties: { serviceName: 'Microsoft.App/environments' } }]
        }
      }
      {
        name: 'containers'
        properties: {
          addressPrefix: '10.0.1.0/24'
          delegations: [{ name: 'containers', properties: { serviceName: 'Microsoft.App/environments' } }]
        }
      }
      {
        name: 'endpoints'
        properties: { addressPrefix: '10.0.2.0/24' }
      }
    ]
  }
}

output functionsSubnetId string = '${network.id}/subnets/functions'
output containersSubnetId string = '${network.id}/subnets/containers'
output endpointsSubnetId string = '${network.id}/subnets/endpoints'
