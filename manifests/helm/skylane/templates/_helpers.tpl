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

{{- /* Refuses an IPv4 CIDR that has bits behind its prefix, as the agent would: a dict with key and cidr. */ -}}
{{- define "skylane.checkCidr" -}}
{{- if and .cidr (not (contains ":" .cidr)) -}}
{{- $parts := splitList "/" .cidr -}}
{{- $octets := splitList "." (index $parts 0) -}}
{{- $value := add (mul (int (index $octets 0)) 16777216) (mul (int (index $octets 1)) 65536) (mul (int (index $octets 2)) 256) (int (index $octets 3)) -}}
{{- if ne (mod $value (index (list 4294967296 2147483648 1073741824 536870912 268435456 134217728 67108864 33554432 16777216 8388608 4194304 2097152 1048576 524288 262144 131072 65536 32768 16384 8192 4096 2048 1024 512 256 128 64 32 16 8 4 2 1) (int (index $parts 1)))) 0 -}}
{{- fail (printf "%s: %s has host bits set behind its prefix" .key .cidr) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The agents' configuration: every key is in docs/configuration.md. */ -}}
{{- define "skylane.config" -}}
{{- include "skylane.checkCidr" (dict "key" "podCidr" "cidr" .Values.podCidr) -}}
{{- include "skylane.checkCidr" (dict "key" "podCidrv6" "cidr" .Values.podCidrv6) -}}
{{- range .Values.serviceCidrs -}}{{- include "skylane.checkCidr" (dict "key" "serviceCidrs" "cidr" .) -}}{{- end -}}
{{- range .Values.masqueradeExclude -}}{{- include "skylane.checkCidr" (dict "key" "masqueradeExclude" "cidr" .) -}}{{- end -}}
{{- range .Values.metrics.allow -}}{{- include "skylane.checkCidr" (dict "key" "metrics.allow" "cidr" .) -}}{{- end -}}
{{- if hasKey .Values.underlay "cidr" -}}{{- include "skylane.checkCidr" (dict "key" "underlay.cidr" "cidr" .Values.underlay.cidr) -}}{{- end -}}
{{- if or .Values.podCidr .Values.podCidrv6 }}
clusterCidrs:
{{- end }}
{{- if .Values.podCidr }}
  - {{ .Values.podCidr | quote }}
{{- end }}
{{- if .Values.podCidrv6 }}
  - {{ .Values.podCidrv6 | quote }}
{{- end }}
serviceCidrs: {{ .Values.serviceCidrs | toJson }}
{{- if .Values.dnsServers }}
dnsServers: {{ .Values.dnsServers | toJson }}
{{- end }}
{{- if .Values.vni }}
vni: {{ int .Values.vni }}
{{- end }}
port: {{ int .Values.backendPort }}
mtu: {{ .Values.mtu }}
masquerade:
  enabled: {{ .Values.masquerade }}
  exclude: {{ .Values.masqueradeExclude | toJson }}
directRouting: {{ .Values.directRouting | quote }}
fastPath: {{ .Values.fastPath | quote }}
encryption: {{ .Values.encryption | quote }}
wireguardPort: {{ .Values.wireguardPort }}
encryptionKeyDays: {{ .Values.encryptionKeyDays }}
probes: {{ .Values.probes | quote }}
flows: {{ .Values.flows | quote }}
hostPorts: {{ .Values.hostPorts }}
bandwidth: {{ .Values.bandwidth | quote }}
underlay: {{ .Values.underlay | toJson }}
listen: {{ printf "127.0.0.1:%v" .Values.listenPort | quote }}
{{- if .Values.metrics.enabled }}
metrics:
  listen: {{ printf ":%v" .Values.metrics.port | quote }}
  allow: {{ .Values.metrics.allow | toJson }}
{{- if .Values.metrics.tokenSecret }}
  tokenFile: /etc/skylane-metrics/token
{{- end }}
{{- end }}
cni:
  install: true
logLevel: {{ .Values.logLevel }}
logFormat: {{ .Values.logFormat }}
{{- end -}}

{{- /* What a CIDR, an address, a MAC address and so on look like (src/lab/api/patterns.ts). */ -}}
{{- define "skylane.pattern.cidr" -}}
^[0-9A-Fa-f:.]+/[0-9]{1,3}$
{{- end -}}
{{- define "skylane.pattern.ip" -}}
^[0-9A-Fa-f:.]+$
{{- end -}}
{{- define "skylane.pattern.mac" -}}
^[0-9A-Fa-f][02468ACEace]([:-][0-9A-Fa-f]{2}){5}$
{{- end -}}
{{- define "skylane.pattern.network" -}}
^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$
{{- end -}}
{{- define "skylane.pattern.holder" -}}
^[^/]+/[^/]+/[^/]+$
{{- end -}}

{{- /* "yes" where CEL has functions for addresses (Kubernetes 1.31 and later). */ -}}
{{- define "skylane.celAddresses" -}}
{{- if and (include "skylane.celRules" .) (semverCompare ">=1.31-0" .Capabilities.KubeVersion.Version) -}}
yes
{{- end -}}
{{- end -}}

{{- /* What can be said of CIDRs and addresses where CEL has no functions for them: all of IPv4, of IPv6 the shape and the scope. */ -}}
{{- define "skylane.rule.cidr" -}}
self.contains(':') || (self.matches('^(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])([.](25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3}/([0-9]|[12][0-9]|3[0-2])$') && (int(self.split('/')[0].split('.')[0]) * 16777216 + int(self.split('/')[0].split('.')[1]) * 65536 + int(self.split('/')[0].split('.')[2]) * 256 + int(self.split('/')[0].split('.')[3])) % [4294967296,2147483648,1073741824,536870912,268435456,134217728,67108864,33554432,16777216,8388608,4194304,2097152,1048576,524288,262144,131072,65536,32768,16384,8192,4096,2048,1024,512,256,128,64,32,16,8,4,2,1][int(self.split('/')[1])] == 0)
{{- end -}}
{{- define "skylane.rule.ip" -}}
(self.contains(':') || self.matches('^(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])([.](25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3}$')) && !self.matches('^(0|127|22[4-9]|23[0-9])[.]|^169[.]254[.]|^255[.]255[.]255[.]255$|^([fF][eE][89abAB]|[fF][fF]|::1?$)')
{{- end -}}

{{- /* The schema of a label selector, but for its description. */ -}}
{{- define "skylane.selector" -}}
type: object
properties:
  matchLabels:
    type: object
    maxProperties: 64
    additionalProperties: { type: string, maxLength: 63 }
  matchExpressions:
    type: array
    maxItems: 32
    items:
      type: object
      required: [key, operator]
{{- if include "skylane.celRules" . }}
      x-kubernetes-validations:
        - rule: (self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)
          message: In and NotIn need values, Exists and DoesNotExist may not have any
{{- end }}
      properties:
        key: { type: string, minLength: 1, maxLength: 317 }
        operator: { type: string, enum: [In, NotIn, Exists, DoesNotExist] }
        values:
          type: array
          maxItems: 64
          items: { type: string, maxLength: 63 }
{{- end -}}
