{{- define "chukei.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* A Service's name has the strictest rule. A long name ends with a sum, so that two that begin alike stay apart. */}}
{{- define "chukei.fullname" -}}
{{- $name := include "chukei.name" . -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- $full = .Values.fullnameOverride | default $full | replace "." "-" -}}
{{- if gt (len $full) 52 -}}
{{- $full = printf "%s-%s" ($full | trunc 43 | trimAll "-") ($full | sha256sum | trunc 8) -}}
{{- end -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $full) -}}
{{- fail (printf "fullnameOverride: set one, since %s cannot be the name of a Service: lower-case letters, digits and dashes, beginning with a letter" $full) -}}
{{- end -}}
{{- $full -}}
{{- end -}}

{{- define "chukei.selector" -}}
app.kubernetes.io/name: {{ include "chukei.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* part-of is the same whatever the release and the chart are called: it names the job of the metrics. */}}
{{- define "chukei.labels" -}}
{{ include "chukei.selector" . }}
app.kubernetes.io/part-of: chukei
app.kubernetes.io/version: {{ .Chart.AppVersion | replace "+" "_" | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" | quote }}
{{- end -}}

{{/* Labels or annotations of the chart and those of a value: a list of text, map, and the value's name. */}}
{{- define "chukei.with" -}}
{{- $ours := index . 0 | fromYaml -}}
{{- range $key, $_ := index . 1 -}}
{{- if hasKey $ours $key -}}
{{- fail (printf "%s: %s: the chart sets it; remove it here" (index $ 2) $key) -}}
{{- end -}}
{{- end -}}
{{- merge $ours (index . 1) | toYaml -}}
{{- end -}}

{{- define "chukei.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "chukei.fullname" .) "default") -}}
{{- end -}}

{{/* A value as text. Helm reads every number as a float, and would write 1000000 as 1e+06. */}}
{{- define "chukei.text" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) -}}{{ int64 . }}{{- else -}}{{ toString . }}{{- end -}}
{{- end -}}

{{- define "chukei.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{- end -}}
{{- end -}}
{{- end -}}
