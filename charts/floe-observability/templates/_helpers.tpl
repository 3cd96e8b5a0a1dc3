{{- define "floe.labels" -}}
app.kubernetes.io/name: floe-observability
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: floe
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Where workloads run, as a JSON list. */}}
{{- define "floe.workloadNamespaces" -}}
{{- .Values.workloads.namespaces | default (list .Release.Namespace) | uniq | toJson }}
{{- end }}

{{/* Whether a subchart is on: "true" or nothing. An umbrella with other dependencies uses these templates too. */}}
{{- define "floe.on" -}}
{{- if dig "enabled" false (get .root.Values .name | default dict) }}true{{ end }}
{{- end }}

{{/* Labels of the collector's pods. The upstream chart names them after the alias that it runs under. */}}
{{- define "floe.collectorLabels" -}}
app.kubernetes.io/name: {{ dig "nameOverride" "" (.Values.otel | default dict) | default "otel" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Ports at which the collector takes OTLP. */}}
{{- define "floe.collectorPorts" -}}
{{- $ports := list }}
{{- range $name, $default := dict "otlp" 4317 "otlp-http" 4318 }}
{{- $port := dig "ports" $name dict ($.Values.otel | default dict) }}
{{- if dig "enabled" true $port }}
{{- $ports = append $ports (dict "port" (dig "containerPort" $default $port | int) "protocol" "TCP") }}
{{- end }}
{{- end }}
{{- toJson $ports }}
{{- end }}

{{/* What identifies the content of the workloads' files and variables. */}}
{{- define "floe.workloadHash" -}}
{{- dict "config" .Values.workloads.config "env" .Values.workloads.env | toJson | sha256sum | trunc 16 }}
{{- end }}

{{/*
A CIDR as an ipBlock that never holds the metadata address, from which a pod on a cloud machine could take the
machine's own credentials. `except` must lie inside the CIDR, so it is only written where it does.
*/}}
{{- define "floe.ipBlock" -}}
{{- $parts := splitList "/" . }}
{{- $address := first $parts }}
{{- $length := last $parts | int }}
{{- $except := "" }}
{{- if contains ":" $address }}
{{- if eq . "::/0" }}{{ $except = "fd00:ec2::254/128" }}{{ end }}
{{- else }}
{{- $number := 0 }}
{{- range splitList "." $address }}{{ $number = add (mul $number 256) (int .) }}{{ end }}
{{- $size := 1 }}
{{- range until (sub 32 $length | int) }}{{ $size = mul $size 2 }}{{ end }}
{{- if eq (div $number $size) (div 2852039166 $size) }}{{ $except = "169.254.169.254/32" }}{{ end }}
{{- if eq . $except }}
{{- fail (printf "`networkPolicy.saasCIDRs` holds `%s`, the cloud machines' metadata address: take it out" .) }}
{{- end }}
{{- end }}
{{- dict "ipBlock" (ternary (dict "cidr" . "except" (list $except)) (dict "cidr" .) (ne $except "")) | toJson }}
{{- end }}

{{/* The rule for DNS. It runs in a pod, which some network plugins match by selectors only, or on the node. */}}
{{- define "floe.dnsRule" -}}
{{- $to := list (dict "namespaceSelector" dict) }}
{{- range list "0.0.0.0/0" "::/0" }}{{ $to = append $to (include "floe.ipBlock" . | fromJson) }}{{ end }}
{{- dict "to" $to "ports" (list (dict "port" 53 "protocol" "UDP") (dict "port" 53 "protocol" "TCP")) | toJson }}
{{- end }}

{{/*
Egress rules of workloads in one namespace. A rule without a destination gets the allowed CIDRs, a peer by labels alone
is a pod of this release, and the collector is always among the destinations.
*/}}
{{- define "floe.workloadEgress" -}}
{{- $root := .root }}
{{- $rules := list (include "floe.dnsRule" $root | fromJson) }}
{{- if include "floe.on" (dict "root" $root "name" "otel") }}
{{- $collector := dict "podSelector" (dict "matchLabels" (include "floe.collectorLabels" $root | fromYaml)) }}
{{- $rules = append $rules (dict "to" (list $collector) "ports" (include "floe.collectorPorts" $root | fromJsonArray)) }}
{{- end }}
{{- range $root.Values.workloads.egressRules }}
{{- $ports := list }}
{{- range .ports }}{{ $ports = append $ports (.port | toString) }}{{ end }}
{{- if .to }}
{{- $rules = append $rules . }}
{{- else if ne (uniq $ports | join ",") "53" }}
{{- $to := list }}
{{- range $root.Values.networkPolicy.saasCIDRs }}{{ $to = append $to (include "floe.ipBlock" . | fromJson) }}{{ end }}
{{- $rules = append $rules (dict "to" $to "ports" .ports) }}
{{- end }}
{{- end }}
{{- $home := dict "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" $root.Release.Namespace)) }}
{{- $placed := list }}
{{- range $rules }}
{{- $to := list }}
{{- range .to }}
{{- if and .podSelector (not .namespaceSelector) (ne $.namespace $root.Release.Namespace) }}
{{- $to = append $to (merge (dict) . $home) }}
{{- else }}
{{- $to = append $to . }}
{{- end }}
{{- end }}
{{- $placed = append $placed (dict "to" $to "ports" .ports) }}
{{- end }}
{{- toJson $placed }}
{{- end }}

{{/* The workloads as NetworkPolicy peers: by label, and by namespace where that is not the release's. */}}
{{- define "floe.workloadPeers" -}}
{{- $pods := dict "podSelector" (dict "matchLabels" (dict "floe.dev/telemetry" "true")) }}
{{- $peers := list }}
{{- range include "floe.workloadNamespaces" . | fromJsonArray }}
{{- if eq . $.Release.Namespace }}
{{- $peers = append $peers $pods }}
{{- else }}
{{- $peers = append $peers (merge (dict "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" .))) $pods) }}
{{- end }}
{{- end }}
{{- toJson $peers }}
{{- end }}

{{/*
The Secrets that must exist: JSON list of {name, keys, whole, namespaces, usedBy}, `whole` where a pod mounts all there is. Those that the values refer to are found
there, so the list cannot drift from what the pods ask for; `secrets` adds what only a third-party chart knows.
*/}}
{{- define "floe.secrets" -}}
{{- $asked := list }}
{{- $sources := list (dict "usedBy" "workload" "env" .Values.workloads.env) }}
{{- if include "floe.on" (dict "root" . "name" "otel") }}
{{- $sources = append $sources (dict "usedBy" "collector" "env" .Values.otel.extraEnvs "volumes" .Values.otel.extraVolumes) }}
{{- end }}
{{- if include "floe.on" (dict "root" . "name" "jaeger") }}
{{- $jaeger := .Values.jaeger.jaeger | default dict }}
{{- $sources = append $sources (dict "usedBy" "jaeger" "env" $jaeger.extraEnv "volumes" $jaeger.extraVolumes) }}
{{- end }}
{{- range $source := $sources }}
{{- range $source.env }}
{{- with dig "valueFrom" "secretKeyRef" dict . }}
{{- $asked = append $asked (dict "name" .name "keys" (list .key) "usedBy" $source.usedBy) }}
{{- end }}
{{- end }}
{{- range $source.volumes }}
{{- with .secret }}
{{- $keys := list }}
{{- range .items }}{{ $keys = append $keys .key }}{{ end }}
{{- $asked = append $asked (dict "name" .secretName "keys" $keys "whole" (empty $keys) "usedBy" $source.usedBy) }}
{{- end }}
{{- end }}
{{- end }}
{{- if include "floe.on" (dict "root" . "name" "marquez") }}
{{- $db := .Values.marquez.db }}
{{- $asked = append $asked (dict "name" $db.existingSecret "keys" (list $db.existingSecretKey) "usedBy" "marquez") }}
{{- end }}
{{- $byName := dict }}
{{- range concat $asked .Values.secrets }}
{{- $known := get $byName .name | default (dict "name" .name "keys" list "whole" false "usedBy" list) }}
{{- $usedBy := kindIs "string" .usedBy | ternary (list .usedBy) .usedBy }}
{{- $_ := set $byName .name (dict "name" .name "keys" (concat $known.keys .keys | uniq | sortAlpha) "whole" (or $known.whole (.whole | default false)) "usedBy" (concat $known.usedBy $usedBy | uniq | sortAlpha)) }}
{{- end }}
{{- $all := list }}
{{- range $name := keys $byName | sortAlpha }}
{{- $secret := get $byName $name }}
{{- $namespaces := list }}
{{- range $secret.usedBy }}
{{- $namespaces = concat $namespaces (eq . "workload" | ternary (include "floe.workloadNamespaces" $ | fromJsonArray) (list $.Release.Namespace)) }}
{{- end }}
{{- $all = append $all (merge (dict "namespaces" (uniq $namespaces)) $secret) }}
{{- end }}
{{- toJson $all }}
{{- end }}

{{/*
What a schema cannot see. The address of the collector says which namespace the values were rendered for: a wrong one
would install without a complaint, and telemetry would go nowhere.
*/}}
{{- define "floe.check" -}}
{{- $fail := list }}
{{- if and .Values.externalSecrets.enabled (not .Values.externalSecrets.secretStoreRef.name) }}
{{- $fail = append $fail "`externalSecrets.secretStoreRef.name` is empty, but `externalSecrets.enabled` is true: name the store to read from" }}
{{- end }}
{{- $abroad := without (include "floe.workloadNamespaces" . | fromJsonArray) .Release.Namespace }}
{{- if include "floe.on" (dict "root" . "name" "otel") }}
{{- range $index, $entry := .Values.workloads.env }}
{{- if eq $entry.name "OTEL_EXPORTER_OTLP_ENDPOINT" }}
{{- $host := regexReplaceAll "^[a-z]+://([^:/]+).*$" ($entry.value | default "") "${1}" }}
{{- $labels := splitList "." $host }}
{{- if and (eq (len $labels) 1) $abroad }}
{{- $fail = append $fail (printf "`workloads.namespaces` holds `%s`, but `workloads.env[%d]` gives the collector as `%s`, an address that only namespace `%s` knows: render the values with `--namespace %s`" (first $abroad) $index $host $.Release.Namespace $.Release.Namespace) }}
{{- else if and (gt (len $labels) 2) (eq (index $labels 2 | default "") "svc") (eq (first $labels) ($.Values.otel.fullnameOverride | default "")) (ne (index $labels 1) $.Release.Namespace) }}
{{- $fail = append $fail (printf "`workloads.env[%d]` gives the collector as `%s`, but the release goes to namespace `%s`: install it with `--namespace %s`, or render the values with `--namespace %s`" $index $host $.Release.Namespace (index $labels 1) $.Release.Namespace) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if $fail }}{{ fail (print "\n" (join "\n" $fail)) }}{{ end }}
{{- end }}
