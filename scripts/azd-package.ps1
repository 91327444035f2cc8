# The same as azd-package.sh, for Windows: runs it by the sh that Git for Windows brings.
$ErrorActionPreference = 'Stop'
$sh = (Get-Command sh -ErrorAction SilentlyContinue).Source
if (-not $sh) {
    $git = (Get-Command git -ErrorAction SilentlyContinue).Source
    if ($git) { $sh = Join-Path (Split-Path (Split-Path $git)) 'bin\sh.exe' }
}
if (-not $sh -or -not (Test-Path $sh)) {
    throw 'packaging the function app needs sh, which Git for Windows brings: https://git-scm.com/download/win'
}
& $sh (Join-Path $PSScriptRoot 'azd-package.sh')
exit $LASTEXITCODE
