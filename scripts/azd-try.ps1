# The same as azd-try.sh, for PowerShell.
$ErrorActionPreference = 'Stop'
foreach ($url in @($env:RELAY_FUNCTION_URL, $env:RELAY_CONTAINER_URL)) {
    if (-not $url) { continue }
    if ($env:RELAY_CALLERS -eq 'entra') {
        $token = "az account get-access-token --scope api://$($env:RELAY_ENTRA_AUDIENCE)/.default --query accessToken -o tsv"
    } else {
        $token = "az keyvault secret show --vault-name $($env:AZURE_KEY_VAULT_NAME) --name callers-key --query value -o tsv"
    }
    Write-Output "The relay is at $url"
    Write-Output ''
    Write-Output "    `$token = $token"
    Write-Output "    Set-Content ask.json '{`"messages`":[{`"role`":`"user`",`"content`":`"Hello`"}]}'"
    Write-Output "    curl.exe -N $url/api/chat-stream -H `"authorization: Bearer `$token`" -H 'content-type: application/json' -d '@ask.json'"
    Write-Output ''
}
