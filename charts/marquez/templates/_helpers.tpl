{{/* The path of a value as its user writes it: below the umbrella it starts with this chart's name there. */}}
{{- define "marquez.path" -}}
{{- if not .root.Chart.IsRoot }}{{ .root.Chart.Name }}.{{ end }}{{ .path }}
{{- end }}

{{- define "marquez.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 48 | trimSuffix "-" }}
{{- end }}

{{- define "marquez.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" }}
{{- else if contains (include "marquez.name" .) .Release.Name }}
{{- .Release.Name | trunc 48 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "marquez.name" .) | trunc 48 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/*
Labels of one component: the API has no suffix, the others have "-web", "-postgresql" and "-test". So a selector on
`app.kubernetes.io/name: marquez` alone, as network policies elsewhere use it, means the API and nothing else.
*/}}
{{- define "marquez.selectorLabels" -}}
app.kubernetes.io/name: {{ include "marquez.name" .root }}{{ .suffix }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "marquez.labels" -}}
{{ include "marquez.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: marquez
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "marquez.metadata" -}}
name: {{ include "marquez.fullname" .root }}{{ .suffix }}
namespace: {{ .root.Release.Namespace }}
labels: {{- include "marquez.labels" . | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "marquez.image" -}}
{{- $image := .repository }}
{{- if .digest }}{{ $image }}@{{ .digest }}{{ else }}{{ $image }}:{{ .tag | default .default }}{{ end }}
{{- end }}

{{- define "marquez.apiImage" -}}
{{ include "marquez.image" (merge (dict "default" .Chart.AppVersion) .Values.image) }}
{{- end }}

{{- define "marquez.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "marquez.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- define "marquez.dbHost" -}}
{{- if .Values.postgresql.enabled }}
{{- include "marquez.fullname" . }}-postgresql
{{- else }}
{{- .Values.db.host }}
{{- end }}
{{- end }}

{{- define "marquez.dbPassword" -}}
valueFrom:
  secretKeyRef:
    name: {{ .Values.db.existingSecret | quote }}
    key: {{ .Values.db.existingSecretKey | quote }}
{{- end }}

{{- define "marquez.config" -}}
server:
  applicationConnectors:
    - {type: http, port: 5000, httpCompliance: RFC7230_LEGACY}
  adminConnectors:
    - {type: http, port: 5001}
db:
  driverClass: org.postgresql.Driver
  {{- $query := dict }}
  {{- with .Values.db.sslMode }}{{ $_ := set $query "sslmode" . }}{{ end }}
  {{- if .Values.db.sslRootCert.existingSecret }}{{ $_ := set $query "sslrootcert" "/etc/marquez/db/ca.crt" }}{{ end }}
  {{- $parameters := list }}
  {{- range $key, $value := $query }}{{ $parameters = append $parameters (printf "%s=%s" $key $value) }}{{ end }}
  url: {{ printf "jdbc:postgresql://%s:%d/%s%s" (include "marquez.dbHost" .) (int .Values.db.port) .Values.db.name (ternary (print "?" (join "&" $parameters)) "" (gt (len $parameters) 0)) | quote }}
  user: {{ .Values.db.user | quote }}
  # Replaced as text when the server starts, before this file is read as YAML: hence the single quotes.
  password: '${POSTGRES_PASSWORD}'
migrateOnStartup: {{ .Values.migrateOnStartup }}
{{- if .Values.dbRetention.enabled }}
dbRetention:
  frequencyMins: {{ int .Values.dbRetention.frequencyMins }}
  numberOfRowsPerBatch: {{ int .Values.dbRetention.numberOfRowsPerBatch }}
  retentionDays: {{ int .Values.dbRetention.retentionDays }}
{{- end }}
logging:
  level: {{ .Values.logLevel }}
  appenders: [{type: console}]
{{- end }}

{{/* What a schema cannot say in the words of the one who reads the message. */}}
{{- define "marquez.check" -}}
{{- $fail := list }}
{{- if not .Values.db.existingSecret }}
{{- $fail = append $fail (printf "`%s` is empty: name the Secret that holds the password of `db.user`, under the key `%s`" (include "marquez.path" (dict "root" . "path" "db.existingSecret")) .Values.db.existingSecretKey) }}
{{- end }}
{{- if .Values.postgresql.enabled }}
{{- $own := printf "%s-postgresql" (include "marquez.fullname" .) }}
{{- if not (has .Values.db.host (list "" $own)) }}
{{- $fail = append $fail (printf "`%s` is `%s`, but the built-in database is `%s`: leave it empty, or set `%s` to false" (include "marquez.path" (dict "root" . "path" "db.host")) .Values.db.host $own (include "marquez.path" (dict "root" . "path" "postgresql.enabled"))) }}
{{- end }}
{{- if ne (int .Values.db.port) 5432 }}
{{- $fail = append $fail (printf "`%s` is %d, but the built-in database listens on 5432" (include "marquez.path" (dict "root" . "path" "db.port")) (int .Values.db.port)) }}
{{- end }}
{{- else if not .Values.db.host }}
{{- $fail = append $fail (printf "`%s` is empty: give the host of a PostgreSQL server, or set `%s` to true for development" (include "marquez.path" (dict "root" . "path" "db.host")) (include "marquez.path" (dict "root" . "path" "postgresql.enabled"))) }}
{{- end }}
{{- if and (hasPrefix "verify-" .Values.db.sslMode) (not .Values.db.sslRootCert.existingSecret) }}
{{- $fail = append $fail (printf "`%s` is empty, but `db.sslMode: %s` needs a CA to verify with" (include "marquez.path" (dict "root" . "path" "db.sslRootCert.existingSecret")) .Values.db.sslMode) }}
{{- end }}
{{- if .Values.ingress.enabled }}
{{- range $key := list "host" "tlsSecretName" }}
{{- if not (get $.Values.ingress $key) }}
{{- $fail = append $fail (printf "`%s` is empty, but `ingress.enabled` is true" (include "marquez.path" (dict "root" $ "path" (print "ingress." $key)))) }}
{{- end }}
{{- end }}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.ingressControllerFrom) }}
{{- $fail = append $fail (printf "`%s` is empty, so the ingress controller could not reach Marquez: give the peer it runs at, for example `[{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress-nginx}}}]`" (include "marquez.path" (dict "root" . "path" "networkPolicy.ingressControllerFrom"))) }}
{{- end }}
{{- end }}
{{- if $fail }}{{ fail (print "\n" (join "\n" $fail)) }}{{ end }}
{{- end }}
