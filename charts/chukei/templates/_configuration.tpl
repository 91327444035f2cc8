{{/*
The relay's configuration as a tree. It is read to refuse what would not work, and what the chart sets itself. Numbers keep
their type, because the tree is only looked at: what is mounted is the text.
*/}}
{{- define "chukei.tree" -}}
{{- if hasPrefix "\ufeff" .Values.config -}}
{{- fail "config: begins with a byte order mark, which TOML does not allow: save the file as UTF-8 without one" -}}
{{- end -}}
{{- $tree := fromToml .Values.config -}}
{{- if and (hasKey $tree "Error") (eq (len $tree) 1) -}}
{{- fail (printf "config: is not valid TOML: %s" $tree.Error) -}}
{{- end -}}
{{- range $section := list "server" "auth" "stores" "metrics" "callers" -}}
{{- if not (kindIs "map" (get $tree $section | default dict)) -}}
{{- fail (printf "config: %s: must be a table" $section) -}}
{{- end -}}
{{- end -}}
{{- include "chukei.checkedText" (list "" $tree) -}}
{{- $ours := dict "host" "env.CHUKEI_SERVER__HOST" "port" "nothing: the chart's port is 7221" "drain_seconds" "stopping.drainSeconds" "grace_seconds" "stopping.graceSeconds" "allowed_hosts" "allowedHosts" -}}
{{- range $key, $instead := $ours -}}
{{- if hasKey ($tree.server | default dict) $key -}}
{{- fail (printf "config: server.%s: the chart sets it; set %s" $key $instead) -}}
{{- end -}}
{{- end -}}
{{- if hasKey ($tree.stores | default dict) "replicas" -}}
{{- fail "config: stores.replicas: the chart sets it; set replicaCount" -}}
{{- end -}}
{{- toJson $tree -}}
{{- end -}}

{{/* Refuse secrets in the configuration, which is a ConfigMap. The relay would refuse them too, but only then. A list: place, value. */}}
{{- define "chukei.checkedText" -}}
{{- $place := index . 0 -}}
{{- $value := index . 1 -}}
{{- if kindIs "map" $value -}}
{{- range $key, $below := $value -}}
{{- include "chukei.checkedText" (list (printf "%s.%s" $place $key | trimPrefix ".") $below) -}}
{{- end -}}
{{- else if kindIs "string" $value -}}
{{- if or (regexMatch "(^|[.])(api_key|token|pepper|connection_string|peppers[.][^.]+)$" $place) (include "chukei.holdsPassword" $value) -}}
{{- fail (printf "config: %s: a secret does not belong in values: write { env = \"NAME\" } and name the variable in secretEnv, or { file = \"PATH\" }" $place) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Not empty for an address with a password, as the relay sees it: in the query too. $(NAME) is a variable of secretEnv. */}}
{{- define "chukei.holdsPassword" -}}
{{- $text := regexReplaceAll "(:|=)[$][(][A-Za-z0-9_]+[)](@|&|$)" (toString .) "" -}}
{{- if regexMatch "(?i)^[a-z+]+://[^\\s]*(@|password=)[^\\s]*$" $text -}}yes{{- end -}}
{{- end -}}

{{/* Refuse variables that the chart sets, that come twice, or that hold a secret. The relay reads them in any case of letters. */}}
{{- define "chukei.checkedEnv" -}}
{{- $tree := include "chukei.tree" . | fromJson -}}
{{- $made := include "chukei.chartVariables" . | fromJson -}}
{{- $ours := dict "POD_IP" "nothing: it is for allowedHosts" "CHUKEI_CONFIG" "config" "CHUKEI_SERVER__PORT" "nothing: the chart's port is 7221" "CHUKEI_SERVER__DRAIN_SECONDS" "stopping.drainSeconds" "CHUKEI_SERVER__GRACE_SECONDS" "stopping.graceSeconds" "CHUKEI_SERVER__ALLOWED_HOSTS" "allowedHosts" "CHUKEI_STORES__REPLICAS" "replicaCount" -}}
{{- range $place, $variables := dict "env" .Values.env "secretEnv" .Values.secretEnv -}}
{{- range $name, $_ := $variables -}}
{{- with get $ours (upper $name) -}}
{{- fail (printf "%s.%s: the chart sets it; set %s" $place $name .) -}}
{{- end -}}
{{- if and (ne $name (upper $name)) (hasPrefix "CHUKEI_" (upper $name)) -}}
{{- fail (printf "%s.%s: write it in capital letters" $place $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $place := dict "CHUKEI_AUTH__API_KEY" "apiKey.secret" "CHUKEI_METRICS__API_KEY" "metrics.secret" -}}
{{- $section := eq $place "apiKey.secret" | ternary "auth" "metrics" -}}
{{- if hasKey $made $name -}}
{{- range $key := list $name (eq $section "auth" | ternary "CHUKEI_API_KEY" $name) -}}
{{- if or (hasKey $.Values.env $key) (hasKey $.Values.secretEnv $key) -}}
{{- fail (printf "%s: is set, and %s too, by its name or by default; name the Secret there only" $key $place) -}}
{{- end -}}
{{- end -}}
{{- if hasKey (get $tree $section | default dict) "api_key" -}}
{{- fail (printf "config: %s.api_key: is set, and %s too, by its name or by default; name the Secret there only" $section $place) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := .Values.secretEnv -}}
{{- if hasKey $made $name -}}
{{- fail (printf "secretEnv.%s: the chart sets it; set it in env instead, since it is no secret" $name) -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := .Values.env -}}
{{- if hasKey $.Values.secretEnv $name -}}
{{- fail (printf "env.%s: is in secretEnv too; keep one of the two" $name) -}}
{{- end -}}
{{- $named := regexMatch "(?i)(API_KEY|PASSWORD|TOKEN|SECRET|PEPPER|PEPPERS__[0-9]+|CONNECTION_STRING|HEADERS)$" $name -}}
{{- $reference := regexMatch "^\\s*\\{\\s*(env|file)\\s*=" (toString $value) -}}
{{- if or (and $named (not $reference)) (include "chukei.holdsPassword" $value) -}}
{{- fail (printf "env.%s: a secret does not belong in values: put it into a Secret, and name that in secretEnv" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Refuse a volume whose name, or a mount whose folder, is one of the chart's: Kubernetes would, after the upgrade began. */}}
{{- define "chukei.checkedVolumes" -}}
{{- if and .Values.state.volume.persistentVolumeClaim (gt (include "chukei.replicas" . | int) 1) -}}
{{- fail "state.volume: pods must not share a claim, since each has its own SQLite there; set replicaCount 1, or use ephemeral with a volumeClaimTemplate" -}}
{{- end -}}
{{- range .Values.extraVolumes -}}
{{- if regexMatch "^(state|config|secret-[0-9]+)$" .name -}}
{{- fail (printf "extraVolumes: %s: the chart has a volume of this name; choose another" .name) -}}
{{- end -}}
{{- end -}}
{{- range .Values.extraVolumeMounts -}}
{{- $folder := .mountPath | trimSuffix "/" -}}
{{- if or (has $folder (list "/var/lib/chukei" "/etc/chukei/config")) (has ($folder | trimPrefix "/etc/chukei/secrets/") (include "chukei.secretFiles" $ | fromJsonArray)) -}}
{{- fail (printf "extraVolumeMounts: %s: the chart mounts a volume there; choose another folder" .mountPath) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Refuse a way in whose host names the relay would refuse. */}}
{{- define "chukei.checkedHosts" -}}
{{- $ways := dict "ingress.hosts" (.Values.ingress.enabled | ternary .Values.ingress.hosts list) "httpRoute.hostnames" (.Values.httpRoute.enabled | ternary .Values.httpRoute.hostnames list) -}}
{{- range $place, $hosts := empty $.Values.allowedHosts | ternary dict $ways -}}
{{- range $hosts -}}
{{- if not (or (hasPrefix "*." .) (has . ($.Values.allowedHosts | join "," | lower | splitList ","))) -}}
{{- fail (printf "allowedHosts: %s of %s is not among them; add it, since the relay would answer 421" . $place) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Not empty if the values let callers in by themselves. */}}
{{- define "chukei.ownAccess" -}}
{{- $tree := include "chukei.tree" . | fromJson -}}
{{- range $key := list "api_key" "entra" "app_service" "anonymous" -}}
{{- if get ($tree.auth | default dict) $key -}}config{{- end -}}
{{- end -}}
{{- range $_, $caller := $tree.callers | default dict -}}
{{- if hasKey $caller "key_sha256" -}}config{{- end -}}
{{- end -}}
{{- range $name, $value := merge (dict) .Values.env .Values.secretEnv -}}
{{- if and (ne (toString $value) "false") (regexMatch "^(CHUKEI_API_KEY|CHUKEI_AUTH__(API_KEY|ENTRA__.+|APP_SERVICE|ANONYMOUS)|CHUKEI_CALLERS__.+__KEY_SHA256)$" $name) -}}env{{- end -}}
{{- end -}}
{{- end -}}

{{/* The Secret of the chart's own keys. */}}
{{- define "chukei.keys" -}}{{ include "chukei.fullname" . }}-keys{{- end -}}

{{/* The key of callers as SECRET/KEY, or nothing. */}}
{{- define "chukei.apiKey" -}}
{{- with .Values.apiKey -}}
{{- if .secret.name -}}{{ .secret.name }}/{{ .secret.key }}
{{- else if and .generate (not (include "chukei.ownAccess" $)) -}}{{ include "chukei.keys" $ }}/api-key
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The key for /metrics as SECRET/KEY, or nothing. */}}
{{- define "chukei.metricsKey" -}}
{{- $tree := include "chukei.tree" . | fromJson -}}
{{- if .Values.metrics.secret.name -}}{{ .Values.metrics.secret.name }}/{{ .Values.metrics.secret.key }}
{{- else if and .Values.metrics.serviceMonitor.enabled (not (($tree.metrics | default dict).open)) -}}{{ include "chukei.keys" . }}/metrics-key
{{- end -}}
{{- end -}}

{{/* The names of the Secrets that are mounted, as JSON. */}}
{{- define "chukei.secretFiles" -}}
{{- $names := .Values.secretFiles -}}
{{- range list (include "chukei.apiKey" .) (include "chukei.metricsKey" .) -}}
{{- with . -}}{{- $names = append $names (splitList "/" . | first) -}}{{- end -}}
{{- end -}}
{{- toJson (uniq $names) -}}
{{- end -}}

{{/* Not empty if replicas share their limits. While Redis is away each limit is divided by the number of replicas. */}}
{{- define "chukei.shared" -}}
{{- $tree := include "chukei.tree" . | fromJson -}}
{{- $address := "CHUKEI_STORES__QUOTA" -}}
{{- if or (hasKey .Values.secretEnv $address) (ne (get .Values.env $address | default (($tree.stores | default dict).quota) | default "memory" | toString) "memory") -}}yes{{- end -}}
{{- end -}}

{{- define "chukei.replicas" -}}
{{- .Values.autoscaling.enabled | ternary .Values.autoscaling.maxReplicas .Values.replicaCount -}}
{{- end -}}

{{/* The variables that the chart sets, as JSON. */}}
{{- define "chukei.chartVariables" -}}
{{- $tree := include "chukei.tree" . | fromJson -}}
{{- $variables := dict "CHUKEI_SERVER__HOST" "0.0.0.0" "CHUKEI_SERVER__PORT" "7221" "XDG_STATE_HOME" "/var/lib" -}}
{{- $_ := set $variables "CHUKEI_SERVER__DRAIN_SECONDS" (toString .Values.stopping.drainSeconds) -}}
{{- $_ := set $variables "CHUKEI_SERVER__GRACE_SECONDS" (toString .Values.stopping.graceSeconds) -}}
{{- if include "chukei.shared" . -}}
{{- $_ := set $variables "CHUKEI_STORES__REPLICAS" (include "chukei.replicas" .) -}}
{{- end -}}
{{- if not (hasKey ($tree.auth | default dict) "local") -}}
{{- $_ := set $variables "CHUKEI_AUTH__LOCAL" "false" -}}
{{- end -}}
{{- if .Values.config -}}
{{- $_ := set $variables "CHUKEI_CONFIG" "/etc/chukei/config/relay.toml" -}}
{{- end -}}
{{- with include "chukei.apiKey" . -}}
{{- $_ := set $variables "CHUKEI_AUTH__API_KEY" (printf "{ file = \"/etc/chukei/secrets/%s\" }" .) -}}
{{- end -}}
{{- with include "chukei.metricsKey" . -}}
{{- $_ := set $variables "CHUKEI_METRICS__API_KEY" (printf "{ file = \"/etc/chukei/secrets/%s\" }" .) -}}
{{- end -}}
{{- with .Values.allowedHosts -}}
{{- $name := include "chukei.fullname" $ -}}
{{- $service := list $name (printf "%s.%s" $name $.Release.Namespace) (printf "%s.%s.svc" $name $.Release.Namespace) (printf "%s.%s.svc.cluster.local" $name $.Release.Namespace) -}}
{{- $hosts := concat . $service (list "localhost" "127.0.0.1" "[::1]" "$(POD_IP)" "[$(POD_IP)]") | uniq -}}
{{- $_ := set $variables "CHUKEI_SERVER__ALLOWED_HOSTS" (join "," $hosts) -}}
{{- end -}}
{{- toJson $variables -}}
{{- end -}}

{{/* The relay's variables in clear, as JSON. The values' own win over the chart's. */}}
{{- define "chukei.variables" -}}
{{- mustMergeOverwrite (include "chukei.chartVariables" . | fromJson) .Values.env | toJson -}}
{{- end -}}

{{/* The parts of the configuration that a relay reads only at its start. Pods are replaced when they change. */}}
{{- define "chukei.startOnly" -}}
{{- $tree := include "chukei.tree" . | fromJson -}}
{{- $parts := pick $tree "stores" "ledger" "audit" "telemetry" -}}
{{- $_ := set $parts "metrics" (pick ($tree.metrics | default dict) "enabled" "callers" "max_rows") -}}
{{- $_ := set $parts "server" (pick ($tree.server | default dict) "hang_seconds") -}}
{{- toJson $parts | sha256sum -}}
{{- end -}}

{{/* The phases of docs/deploy-server.md: the relay's own end takes 5 seconds beyond drain and grace; 5 more for a busy node. */}}
{{- define "chukei.terminationSeconds" -}}
{{- with .Values.stopping -}}
{{- addf .preStopSeconds .drainSeconds .graceSeconds 10 | ceil | int -}}
{{- end -}}
{{- end -}}
