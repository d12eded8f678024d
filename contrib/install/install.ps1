# Installs bugfender-hooks from a release on GitHub: downloads the archive for Windows, verifies its checksum and, with the
# GitHub CLI, its build provenance, and puts the program into a directory. Changes nothing else.
#
#   irm https://github.com/OWNER/bugfender-hooks/releases/latest/download/install.ps1 | iex
#
# With arguments:
#   & ([scriptblock]::Create((irm …/install.ps1))) -Version 0.2.0 -To C:\Tools
param(
    # Such as 0.2.0.
    [string] $Version = 'latest',
    # Where the program goes.
    [string] $To = (Join-Path $env:LOCALAPPDATA 'Programs\bugfender-hooks'),
    # Whose releases: OWNER/NAME. A release puts the name of its repository here.
    [string] $Repository = '@REPOSITORY@',
    # Whether to verify the build provenance: auto does if the GitHub CLI is signed in.
    [ValidateSet('always', 'auto', 'never')] [string] $Attestation = 'auto'
)

$ErrorActionPreference = 'Stop'
# The bar slows downloads down.
$ProgressPreference = 'SilentlyContinue'
# Windows PowerShell offers older versions by itself.
[Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12

if ($Repository -notmatch '^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$') {
    throw 'give the repository with the releases: -Repository OWNER/NAME'
}
$releases = "https://github.com/$Repository/releases"
if ($Version -eq 'latest') {
    $latest = Invoke-RestMethod -Uri "https://api.github.com/repos/$Repository/releases/latest"
    $Version = $latest.tag_name
}
$Version = $Version -replace '^v', ''
if ($Version -notmatch '^[0-9]+\.[0-9]+\.[0-9]+[A-Za-z0-9.+-]*$') { throw "there is no version $Version" }

$name = "bugfender-hooks-$Version-x86_64-pc-windows-msvc"
$archive = "$name.zip"
$scratch = Join-Path ([IO.Path]::GetTempPath()) ([IO.Path]::GetRandomFileName())
New-Item -ItemType Directory -Path $scratch | Out-Null
try {
    foreach ($file in $archive, 'SHA256SUMS') {
        Invoke-WebRequest -UseBasicParsing -Uri "$releases/download/v$Version/$file" -OutFile (Join-Path $scratch $file)
    }
    $path = Join-Path $scratch $archive
    $expected = Get-Content (Join-Path $scratch 'SHA256SUMS') |
        ForEach-Object { $sum, $of = $_ -split '\s+\*?', 2; if ($of -eq $archive) { $sum } }
    if ($expected -notmatch '^[0-9a-f]{64}$') { throw "SHA256SUMS does not name $archive" }
    $actual = (Get-FileHash -Algorithm SHA256 -Path $path).Hash
    if ($actual -ne $expected) {
        throw "the checksum of $archive is wrong: the download is damaged, or not what was released"
    }

    $gh = Get-Command gh -ErrorAction SilentlyContinue
    if ($Attestation -eq 'always' -and -not $gh) { throw 'the GitHub CLI is missing, which verifies the build provenance' }
    $verify = $Attestation -eq 'always'
    if ($Attestation -eq 'auto' -and $gh) {
        & gh auth status *> $null
        $verify = $LASTEXITCODE -eq 0
    }
    if ($verify) {
        & gh attestation verify $path --repo $Repository
        if ($LASTEXITCODE -ne 0) { throw "the build provenance of $archive could not be verified" }
    } elseif ($Attestation -eq 'auto') {
        Write-Host 'the checksum is right; the build provenance was not verified, which takes the GitHub CLI, signed in'
    }

    Expand-Archive -Path $path -DestinationPath $scratch
    $program = Join-Path (Join-Path $scratch $name) 'bugfender-hooks.exe'
    # Before it takes the place of one that works.
    & $program --version | Out-Null
    if ($LASTEXITCODE -ne 0) { throw 'the program does not run on this system' }
    New-Item -ItemType Directory -Force -Path $To | Out-Null
    Copy-Item -Force -Path $program -Destination (Join-Path $To 'bugfender-hooks.exe')
} finally {
    Remove-Item -Recurse -Force -Path $scratch
}

& (Join-Path $To 'bugfender-hooks.exe') --version
Write-Host "installed in $To"
if (($env:Path -split ';') -notcontains $To) { Write-Host "$To is not on your PATH" }
