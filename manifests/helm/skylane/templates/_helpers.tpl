{{- /* The image, by digest where one is given. */ -}}
{{- define "skylane.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- /* "yes" where the API server is to hold agents to their rights: by the value, and by what it knows where that is auto. */ -}}
{{- define "skylane.admissionPolicy" -}}
{{- $wanted := toString .Values.admissionPolicy -}}
{{- if eq $wanted "true" -}}
yes
{{- else if eq $wanted "auto" -}}
{{- if or (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy") (semverCompare ">=1.30-0" .Capabilities.KubeVersion.Version) -}}
yes
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* "yes" where the custom resources have their rules in CEL. */ -}}
{{- define "skylane.celRules" -}}
{{- $wanted := toString .Values.celRules -}}
{{- if eq $wanted "true" -}}
yes
{{- else if eq $wanted "auto" -}}
{{- if semverCompare ">=1.25-0" .Capabilities.KubeVersion.Version -}}
yes
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* What every policy begins with: whose requests it is about, and which node the token of such a request belongs to. */ -}}
{{- define "skylane.policy.by" -}}
matchConditions:
  - name: by-skylane
    expression: request.userInfo.username == "system:serviceaccount:{{ .Release.Namespace }}:skylane"
{{- end -}}
{{- define "skylane.policy.token" -}}
- name: tokenNode
  expression: >-
    has(request.userInfo.extra) && "authentication.kubernetes.io/node-name" in request.userInfo.extra
    ? request.userInfo.extra["authentication.kubernetes.io/node-name"][0] : ""
- name: who
  expression: >-
    "skylane on node " + (variables.tokenNode == "" ? "(token without a node claim)" : variables.tokenNode)
{{- end -}}

{{- /* That nothing of an object's metadata has changed but annotations. */ -}}
{{- define "skylane.policy.sameMetadata" -}}
(has(object.metadata.labels) ? object.metadata.labels : {}) == (has(oldObject.metadata.labels) ? oldObject.metadata.labels : {})
&& (has(object.metadata.finalizers) ? object.metadata.finalizers : []) == (has(oldObject.metadata.finalizers) ? oldObject.metadata.finalizers : [])
&& (has(object.metadata.ownerReferences) ? object.metadata.ownerReferences : []) == (has(oldObject.metadata.ownerReferences) ? oldObject.metadata.ownerReferences : [])
{{- end -}}

{{- /* That a text is a node's name, or where that is too long its beginning and a hash (src/networks/names.ts). */ -}}
{{- define "skylane.policy.shortened" -}}
(size({{ .node }}) <= {{ .max }} ? {{ .text }} == {{ .node }}
: {{ .text }}.matches("^.*-[0-9a-f]{16}$") && {{ .node }}.startsWith({{ .text }}.substring(0, size({{ .text }}) - 17)))
{{- end -}}
