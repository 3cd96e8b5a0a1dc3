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

{{/* The files that workloads mount, as keys of their pod and of their container: JSON, empty where there are none. */}}
{{- define "floe.workloadVolumes" -}}
{{- $mounted := dict }}
{{- with .Values.workloads.volumes }}{{ $_ := set $mounted "volumes" . }}{{ end }}
{{- with .Values.workloads.volumeMounts }}{{ $_ := set $mounted "volumeMounts" . }}{{ end }}
{{- toJson $mounted }}
{{- end }}

{{/* What identifies the content of the workloads' files and variables. */}}
{{- define "floe.workloadHash" -}}
{{- $content := dict "config" .Values.workloads.config "env" .Values.workloads.env }}
{{- with include "floe.workloadVolumes" . | fromJson }}{{ $_ := set $content "mounted" . }}{{ end }}
{{- $content | toJson | sha256sum | trunc 16 }}
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
Walks the values of the workloads or of one subchart and adds to `found` what stands there in the shapes of Kubernetes:
`asked`, the Secrets that pods wait for, and `made`, those that an object among the values makes, such as a Certificate.
*/}}
{{- define "floe.walk" -}}
{{- $asked := list }}
{{- if kindIs "slice" .node }}
{{- range .node }}
{{- $_ := include "floe.walk" (dict "node" . "usedBy" $.usedBy "found" $.found) }}
{{- end }}
{{- else if kindIs "map" .node }}
{{- $kind := "" }}
{{- if hasKey .node "apiVersion" }}{{ $kind = get .node "kind" | toString }}{{ end }}
{{- if has $kind (list "Certificate" "ExternalSecret" "SealedSecret" "Secret") }}
{{- $name := dig "metadata" "name" "" .node }}
{{- if eq $kind "Certificate" }}{{ $name = dig "spec" "secretName" "" .node }}{{ end }}
{{- if eq $kind "ExternalSecret" }}{{ $name = dig "spec" "target" "name" $name .node }}{{ end }}
{{- $_ := set .found "made" (append .found.made (dict "name" $name "namespace" (dig "metadata" "namespace" "" .node) "by" $kind)) }}
{{- else }}
{{- /* As charts/marquez names a Secret. */ -}}
{{- if and .node.existingSecret .node.existingSecretKey }}
{{- $asked = append $asked (dict "name" .node.existingSecret "keys" (list .node.existingSecretKey)) }}
{{- end }}
{{- range $key, $below := .node }}
{{- if kindIs "map" $below }}
{{- if eq $key "secretKeyRef" }}
{{- $asked = append $asked (dict "name" $below.name "keys" (list $below.key) "optional" $below.optional) }}
{{- else if eq $key "secretRef" }}
{{- $asked = append $asked (dict "name" $below.name "optional" $below.optional) }}
{{- else if and (eq $key "secret") (hasKey $below "secretName") }}
{{- $asked = append $asked (dict "name" $below.secretName "items" $below.items "optional" $below.optional) }}
{{- else if eq $key "projected" }}
{{- range $below.sources }}
{{- with .secret }}
{{- $asked = append $asked (dict "name" .name "items" .items "optional" .optional) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- $_ := include "floe.walk" (dict "node" $below "usedBy" $.usedBy "found" $.found) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $asked }}
{{- if and .name (not .optional) (not (contains "{{" (toString .name))) }}
{{- $keys := .keys | default list }}
{{- range .items }}{{ $keys = append $keys .key }}{{ end }}
{{- $_ := set $.found "asked" (append $.found.asked (dict "name" .name "keys" $keys "whole" (empty $keys) "usedBy" $.usedBy)) }}
{{- end }}
{{- end }}
{{- end }}

{{/*
JSON of `exist`, the Secrets that must exist: {name, namespaces, keys, whole, usedBy}, `whole` where a pod takes all there
is; and of `made`, those that objects of this release make. What the values refer to is found there, patches included,
so the list cannot drift from what the pods ask for; `secrets` adds what a chart names in a way of its own. Each
namespace gets the keys that are used there, and no others: workloads see no password of a backend's database.
*/}}
{{- define "floe.secrets" -}}
{{- $found := dict "asked" list "made" list }}
{{- $workloads := dict "env" .Values.workloads.env "volumes" .Values.workloads.volumes }}
{{- $_ := include "floe.walk" (dict "node" $workloads "usedBy" "workload" "found" $found) }}
{{- range $name := keys .Subcharts | sortAlpha }}
{{- $_ := include "floe.walk" (dict "node" (get $.Values $name) "usedBy" (eq $name "otel" | ternary "collector" $name) "found" $found) }}
{{- end }}
{{- $made := dict }}
{{- range $found.made }}
{{- if has .namespace (list "" $.Release.Namespace) }}{{ $_ := set $made .name .by }}{{ end }}
{{- end }}
{{- $places := dict }}
{{- range $one := concat $found.asked .Values.secrets }}
{{- range $user := kindIs "string" .usedBy | ternary (list .usedBy) .usedBy }}
{{- range $namespace := eq $user "workload" | ternary (include "floe.workloadNamespaces" $ | fromJsonArray) (list $.Release.Namespace) }}
{{- if not (and (hasKey $made $one.name) (eq $namespace $.Release.Namespace)) }}
{{- $place := printf "%s %s" $one.name $namespace }}
{{- $known := get $places $place | default (dict "name" $one.name "namespace" $namespace "keys" list "whole" false "usedBy" list) }}
{{- $_ := set $known "keys" (concat $known.keys $one.keys | uniq | sortAlpha) }}
{{- $_ := set $known "whole" (or $known.whole ($one.whole | default false)) }}
{{- $_ := set $known "usedBy" (append $known.usedBy $user | uniq | sortAlpha) }}
{{- $_ := set $places $place $known }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- /* Namespaces that need the same of one Secret are told together; a subchart's name says more than `chart`. */ -}}
{{- $alike := dict }}
{{- range $place := keys $places | sortAlpha }}
{{- $one := get $places $place }}
{{- if without $one.usedBy "chart" "collector" "workload" }}{{ $_ := set $one "usedBy" (without $one.usedBy "chart") }}{{ end }}
{{- $content := omit $one "namespace" }}
{{- $key := printf "%s %s" $one.name (toJson $content) }}
{{- $namespaces := append (dig $key "namespaces" list $alike) $one.namespace }}
{{- $_ := set $alike $key (merge (dict "namespaces" $namespaces) $content) }}
{{- end }}
{{- $exist := list }}
{{- range $key := keys $alike | sortAlpha }}{{ $exist = append $exist (get $alike $key) }}{{ end }}
{{- dict "exist" $exist "made" $made | toJson }}
{{- end }}

{{/* Adds to `found` the addresses that stand below a value: {at, host, of}. */}}
{{- define "floe.addresses" -}}
{{- if kindIs "map" .node }}
{{- range $key, $below := .node }}
{{- $_ := include "floe.addresses" (dict "node" $below "at" (printf "%s.%s" $.at $key) "of" $.of "found" $.found) }}
{{- end }}
{{- else if kindIs "slice" .node }}
{{- range $index, $below := .node }}
{{- $_ := include "floe.addresses" (dict "node" $below "at" (printf "%s[%d]" $.at $index) "of" $.of "found" $.found) }}
{{- end }}
{{- else if kindIs "string" .node }}
{{- with regexFind "^[a-z][-+.a-z0-9]*://[^/?#]*" .node }}
{{- $host := regexReplaceAll "^[^:]*://([^@]*@)?([^:]*).*$" . "${2}" | trimSuffix "." }}
{{- $_ := set $.found "addresses" (append $.found.addresses (dict "at" $.at "host" $host "of" $.of)) }}
{{- end }}
{{- end }}
{{- end }}

{{/*
Helm takes a default away where a value is null. A rule would then reach everything, and a subchart would be on. Every
template asks for this first.
*/}}
{{- define "floe.complete" -}}
{{- $paths := list "workloads.namespaces" "workloads.configMapName" "workloads.config" "workloads.env" "workloads.egressRules" "secrets" }}
{{- $paths = concat $paths (list "networkPolicy.enabled" "networkPolicy.saasCIDRs" "networkPolicy.ingressRules" "networkPolicy.userInterfaces.from" "networkPolicy.userInterfaces.pods") }}
{{- $paths = concat $paths (list "externalSecrets.enabled" "externalSecrets.apiVersion" "externalSecrets.secretStoreRef.kind" "externalSecrets.secretStoreRef.name" "externalSecrets.refreshInterval" "externalSecrets.remoteKeys") }}
{{- range list "otel" "jaeger" "openmetadata" "marquez" }}
{{- if hasKey $.Subcharts . }}{{ $paths = append $paths (print . ".enabled") }}{{ end }}
{{- end }}
{{- $fail := list }}
{{- range $path := $paths }}
{{- $node := $.Values }}
{{- $at := list }}
{{- range splitList "." $path }}
{{- if kindIs "map" $node }}
{{- $node = index $node . }}
{{- $at = append $at . }}
{{- end }}
{{- end }}
{{- if kindIs "invalid" $node }}
{{- $fail = append $fail (printf "`%s` is null: leave it out, and its default stands" (join "." $at)) }}
{{- end }}
{{- end }}
{{- if $fail }}{{ fail (print "\n" (uniq $fail | join "\n")) }}{{ end }}
{{- end }}

{{/*
What a schema cannot see. The addresses that workloads get say which namespace the values were rendered for: a wrong one
would install without a complaint, and what is sent there would go nowhere. An address of this release is known by the
name of a subchart's Service.
*/}}
{{- define "floe.check" -}}
{{- $fail := list }}
{{- if and .Values.externalSecrets.enabled (not .Values.externalSecrets.secretStoreRef.name) }}
{{- $fail = append $fail "`externalSecrets.secretStoreRef.name` is empty, but `externalSecrets.enabled` is true: name the store to read from" }}
{{- end }}
{{- $services := dict }}
{{- range $name := keys .Subcharts }}
{{- $_ := set $services (dig "fullnameOverride" "" (get $.Values $name) | default $name) $name }}
{{- end }}
{{- $found := dict "addresses" list }}
{{- range $index, $entry := .Values.workloads.env }}
{{- $_ := include "floe.addresses" (dict "node" $entry.value "at" (printf "workloads.env[%d]" $index) "of" (eq $entry.name "OTEL_EXPORTER_OTLP_ENDPOINT" | ternary "otel" "") "found" $found) }}
{{- end }}
{{- $_ := include "floe.addresses" (dict "node" .Values.workloads.config "at" "workloads.config" "of" "" "found" $found) }}
{{- $abroad := without (include "floe.workloadNamespaces" . | fromJsonArray) .Release.Namespace }}
{{- range $address := $found.addresses }}
{{- $labels := splitList "." .host }}
{{- $short := eq (len $labels) 1 }}
{{- $subchart := get $services (first $labels) }}
{{- if and $short (hasKey $.Subcharts .of) }}{{ $subchart = .of }}{{ end }}
{{- with $subchart }}
{{- $gives := printf "`%s` gives %s as `%s`" $address.at (eq . "otel" | ternary "the collector" .) $address.host }}
{{- if and $short $abroad }}
{{- $fail = append $fail (printf "`workloads.namespaces` holds `%s`, but %s, an address that only namespace `%s` knows: render the values with `--namespace %s`" (first $abroad) $gives $.Release.Namespace $.Release.Namespace) }}
{{- else if and (eq (index (concat $labels (list "" "")) 2) "svc") (ne (index $labels 1) $.Release.Namespace) }}
{{- $fail = append $fail (printf "%s, but the release goes to namespace `%s`: install it with `--namespace %s`, or render the values with `--namespace %s`" $gives $.Release.Namespace (index $labels 1) $.Release.Namespace) }}
{{- end }}
{{- end }}
{{- end }}
{{- if $fail }}{{ fail (print "\n" (join "\n" $fail)) }}{{ end }}
{{- end }}
