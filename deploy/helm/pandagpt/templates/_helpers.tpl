{{- define "pandagpt.name" -}}
{{- default .Release.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "pandagpt.labels" -}}
app.kubernetes.io/name: pandagpt
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* What selects the pods of a part: dict "root" $ "part" "gateway". */}}
{{- define "pandagpt.selector" -}}
app.kubernetes.io/name: pandagpt
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "pandagpt.image" -}}
{{ .image.repository }}{{ if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "pandagpt.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "pandagpt.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "pandagpt.storeSecret" -}}
{{ .Values.store.existingSecret | default (printf "%s-store" (include "pandagpt.name" .)) }}
{{- end }}

{{/* "true" where the chart brings the store. */}}
{{- define "pandagpt.ownStore" -}}
{{- if not (or .Values.store.url .Values.store.sentinel.addresses) }}true{{ end -}}
{{- end }}

{{/* The store's address and one side's credentials: dict "root" $ "side" "gateway". */}}
{{- define "pandagpt.storeEnv" -}}
{{- $root := .root -}}
{{- $sentinel := $root.Values.store.sentinel -}}
{{- if $sentinel.addresses -}}
- name: PANDAGPT_STORE_SENTINELS
  value: {{ join "," $sentinel.addresses | quote }}
- name: PANDAGPT_STORE_SENTINEL_MASTER
  value: {{ required "store.sentinel.master: the sentinels know more than one master, name yours" $sentinel.master | quote }}
- name: PANDAGPT_STORE_SENTINEL_TLS
  value: {{ $sentinel.tls | quote }}
{{- if $sentinel.auth }}
- name: PANDAGPT_STORE_SENTINEL_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "pandagpt.storeSecret" $root }}
      key: sentinel-password
{{- end }}
{{- else -}}
- name: PANDAGPT_STORE_URL
  value: {{ $root.Values.store.url | default (printf "redis://%s-store:6379/0" (include "pandagpt.name" $root)) | quote }}
{{- end }}
- name: PANDAGPT_STORE_NAMESPACE
  value: {{ $root.Values.store.namespace | quote }}
{{- with get $root.Values.store (printf "%sUser" .side) }}
- name: PANDAGPT_STORE_USERNAME
  value: {{ . | quote }}
{{- end }}
- name: PANDAGPT_STORE_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "pandagpt.storeSecret" $root }}
      key: {{ .side }}-password
{{- end }}

{{- define "pandagpt.env" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "pandagpt.scrapers" }}
{{- range .Values.networkPolicy.monitoringNamespaces }}
- namespaceSelector:
    matchLabels: {kubernetes.io/metadata.name: {{ . }}}
{{- end }}
{{- end }}
{{- define "pandagpt.toStore" }}
- to:
    - namespaceSelector: {}
      podSelector:
        matchLabels: {k8s-app: kube-dns}
  ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- if include "pandagpt.ownStore" . }}
- to:
    - podSelector:
        matchLabels: {{- include "pandagpt.selector" (dict "root" . "part" "store") | nindent 10 }}
  ports:
    - {port: 6379, protocol: TCP}
{{- end }}
{{- range .Values.networkPolicy.storeCidrs }}
- to:
    - ipBlock: {cidr: {{ .cidr }}}
  ports:
    - {port: {{ .port }}, protocol: TCP}
{{- end }}
{{- end }}
