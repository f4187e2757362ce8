{{/* Name of all objects of this release. */}}
{{- define "interlock.name" -}}
{{- .name | default (printf "%s" .Release.Name) | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "interlock.labels" -}}
app.kubernetes.io/name: interlock
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "interlock.hardened" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* What the container is in both modes. */}}
{{- define "interlock.container" -}}
image: "{{ required "image.repository: where you have pushed the image" .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [run, --config, /etc/interlock/interlock.toml]
startupProbe:
  httpGet: {path: /healthz, port: il-admin}
  periodSeconds: 1
  failureThreshold: 30
livenessProbe:
  httpGet: {path: /healthz, port: il-admin}
  periodSeconds: 10
  timeoutSeconds: 2
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: il-admin}
  periodSeconds: 5
  timeoutSeconds: 2
  failureThreshold: 3
resources: {{- toYaml .Values.resources | nindent 2 }}
securityContext: {{- include "interlock.hardened" . | nindent 2 }}
volumeMounts:
  - {name: interlock-config, mountPath: /etc/interlock, readOnly: true}
  - {name: interlock-state, mountPath: /var/lib/interlock}
  {{- if .Values.tls.secretName }}
  - {name: interlock-tls, mountPath: /etc/interlock-tls, readOnly: true}
  {{- end }}
{{- end -}}

{{- define "interlock.control" -}}
{{- if or .Values.control.url .Values.control.existingSecret }}
- name: INTERLOCK__CONTROL__URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.control.existingSecret | default (include "interlock.name" .) }}
      key: {{ .Values.control.existingSecretKey }}
{{- end }}
{{- end -}}

{{/* The sidecar: an init container that stays. The application starts after its startup probe, and it gets its
SIGTERM when the application has ended. */}}
{{- define "interlock.sidecar" -}}
- name: interlock
  restartPolicy: Always
  {{- include "interlock.container" . | nindent 2 }}
  env:
    - {name: INTERLOCK__FRONTEND__LISTEN, value: "127.0.0.1:6033"}
    {{- include "interlock.control" . | nindent 4 }}
  ports:
    - {name: il-admin, containerPort: 6034}
{{- end -}}

{{- define "interlock.volumes" -}}
- name: interlock-config
  configMap: {name: {{ include "interlock.name" . }}}
- name: interlock-state
  emptyDir: {sizeLimit: 64Mi}
{{- if .Values.tls.secretName }}
- name: interlock-tls
  secret: {secretName: {{ .Values.tls.secretName }}, defaultMode: 0440}
{{- end }}
{{- end -}}
