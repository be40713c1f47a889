# A chain of small services: each asks the next one and adds itself to the answer; "path" says how
# they talk.
#
#   nomad job run -var-file=.lab/socklab/chain.hcl -var path=unix -var services=4 jobs/chain.nomad.hcl

variable "id" {
  description = "Name of the job; the engine gives every deployment its own."
  type        = string
  default     = "chain"
}

variable "path" {
  description = "Way between the services: call (functions of one process that hand over objects), encoded (the same, that hand over JSON), unix (sockets on the shared volume) and tcp-loopback (a container each, one network namespace), tcp-bridge (a container each, with namespaces of their own on the engine's bridge), tcp-hosts (every second one on the other host, over the hosts' network), mesh (a container and an Envoy each: Unix sockets to it, mutual TLS between two of them)."
  type        = string

  validation {
    condition     = contains(["call", "encoded", "unix", "tcp-loopback", "tcp-bridge", "tcp-hosts", "mesh"], var.path)
    error_message = "The path must be call, encoded, unix, tcp-loopback, tcp-bridge, tcp-hosts or mesh."
  }
}

variable "services" {
  description = "Length of the chain."
  type        = number
  default     = 2

  validation {
    condition     = contains([1, 2, 4, 8], var.services)
    error_message = "The number of services must be 1, 2, 4 or 8."
  }
}

variable "node" {
  description = "Name of the Nomad node; a deployment never moves to another one."
  type        = string
  default     = "lab-2"
}

variable "node_address" {
  description = "IPv4 address of that node, with tcp-hosts and mesh."
  type        = string
  default     = ""
}

variable "peer" {
  description = "Name of the other node, with tcp-hosts."
  type        = string
  default     = ""
}

variable "peer_address" {
  description = "IPv4 address of the other node, with tcp-hosts."
  type        = string
  default     = ""
}

variable "port" {
  description = "First of eight ports of its hosts that only this deployment uses, with tcp-hosts and mesh; outside of Nomad's dynamic range."
  type        = number
  default     = 12000
}

variable "fault" {
  description = "What is wrong: none, slow (the last service waits 5 ms before it answers), failing (half of the last one's answers are a 503), retried (the same, and every other service asks up to three times)."
  type        = string
  default     = "none"

  validation {
    condition     = contains(["none", "slow", "failing", "retried"], var.fault)
    error_message = "The fault must be none, slow, failing or retried."
  }
}

variable "trace" {
  description = "What becomes of traces: off (no OpenTelemetry), unsampled (a traceparent goes through every service, no span is kept), sampled (one request of 50 keeps its spans)."
  type        = string
  default     = "off"

  validation {
    condition     = contains(["off", "unsampled", "sampled"], var.trace)
    error_message = "The trace must be off, unsampled or sampled."
  }
}

variable "image_chain" {
  description = "Image with gunicorn and the service, by digest."
  type        = string
}

variable "image_sidecar" {
  description = "Image with Envoy, Consul's client and the mesh task, by digest."
  type        = string
}

variable "mesh_ca" {
  description = "PEM certificate of the lab's CA: what the mesh task verifies Consul by."
  type        = string
}

variable "cpu" {
  description = "CPU share of a task, in the lab's unit: 100000 is one core."
  type        = number
  default     = 10
}

variable "memory_mb" {
  description = "Memory of a task in MB; an Envoy with its mesh task gets twice as much."
  type        = number
  default     = 96
}

locals {
  bridged = var.path == "tcp-bridge"
  spans   = var.path == "tcp-hosts"
  meshed  = var.path == "mesh" && var.services > 1
  within  = contains(["call", "encoded"], var.path) ? var.services - 1 : 0
  count   = var.services - local.within
  last    = "service-${local.count - 1}"
  traced  = { off = "", unsampled = "0", sampled = "0.02" }

  # Over two hosts every second one is far, and each host has its part of the ports.
  groups = local.spans && local.count > 1 ? ["chain", "far"] : ["chain"]
  members = {
    chain = [for number in range(local.count) : "service-${number}" if !local.spans || number % 2 == 0]
    far   = [for number in range(local.count) : "service-${number}" if local.spans && number % 2 == 1]
  }
  nodes = { chain = var.node, far = var.peer }
  # Without an address a service would listen at every one of the host's: that is refused.
  at = [
    for number in range(local.count) : local.spans ?
    "${cidrhost("${number % 2 == 0 ? var.node_address : var.peer_address}/32", 0)}:${var.port + floor(number / 2)}" : ""
  ]

  # Between two of them: the socket of the next one, or that of the own Envoy which leads there.
  sockets = var.path == "mesh" ? "/alloc/tmp/to-service" : "/alloc/tmp/service"
  unix    = contains(["unix", "mesh"], var.path)

  # Load comes over TCP to the first one, whatever is between the others.
  binds = {
    for number in range(local.count) : "service-${number}" =>
    local.spans ? local.at[number] :
    number == 0 || local.bridged ? "0.0.0.0:${8000 + number}" :
    local.unix ? "unix:/alloc/tmp/service-${number}.sock" :
    "127.0.0.1:${8000 + number}"
  }
  nexts = {
    for number in range(local.count) : "service-${number}" =>
    number == local.count - 1 ? "" :
    local.spans ? "http://${local.at[number + 1]}/" :
    local.unix ? "unix:${local.sockets}-${number + 1}.sock" :
    local.bridged ? "http://service-${number + 1}.${NOMAD_ALLOC_ID}:${8001 + number}/" :
    "http://127.0.0.1:${8001 + number}/"
  }

  # What Consul is told of each (docs/mesh.md): a service at its socket, which only the one before it
  # may call. The Envoys are in the host's network, at ports that the bridge does not rewrite.
  mesh_address = local.meshed ? cidrhost("${var.node_address}/32", 0) : ""
  definitions = {
    for number in range(local.meshed ? local.count : 0) : "sidecar-service-${number}" => jsonencode({
      service = merge(
        {
          id   = "{{ env `NOMAD_JOB_ID` }}-service-${number}-{{ env `NOMAD_ALLOC_ID` }}"
          name = "{{ env `NOMAD_JOB_ID` }}-service-${number}"
          checks = [{
            id                                = "{{ env `NOMAD_JOB_ID` }}-service-${number}-{{ env `NOMAD_ALLOC_ID` }}-socket"
            name                              = "the socket is there"
            ttl                               = "30s"
            deregister_critical_service_after = "1m"
          }]
          connect = {
            sidecar_service = {
              address = local.mesh_address
              port    = var.port + number
              checks = [
                {
                  id                                = "{{ env `NOMAD_JOB_ID` }}-service-${number}-{{ env `NOMAD_ALLOC_ID` }}-envoy"
                  name                              = "Envoy is ready"
                  ttl                               = "30s"
                  deregister_critical_service_after = "1m"
                },
                {
                  name          = "the service"
                  alias_service = "{{ env `NOMAD_JOB_ID` }}-service-${number}-{{ env `NOMAD_ALLOC_ID` }}"
                },
              ]
              proxy = merge(
                { config = { bind_address = local.mesh_address } },
                number > 0 ? { local_service_socket_path = "/alloc/tmp/service-${number}.sock" } : {},
                number < local.count - 1 ? {
                  upstreams = [{
                    destination_name       = "{{ env `NOMAD_JOB_ID` }}-service-${number + 1}"
                    local_bind_socket_path = "${local.sockets}-${number + 1}.sock"
                    local_bind_socket_mode = "0660"
                  }]
                } : {},
              )
            }
          }
        },
        number > 0 ? { socket_path = "/alloc/tmp/service-${number}.sock" } : {},
      )
    })
  }
}

job "chain" {
  id          = var.id
  type        = "service"
  datacenters = ["dc1"]

  update {
    max_parallel      = 1
    health_check      = "task_states"
    min_healthy_time  = "1s"
    healthy_deadline  = "60s"
    progress_deadline = "90s"
    auto_revert       = false
  }

  dynamic "group" {
    for_each = local.groups
    labels   = [group.value]

    content {
      count = 1

      constraint {
        attribute = "${node.unique.name}"
        value     = local.nodes[group.value]
      }

      # A benchmark's allocation never silently moves or comes back as another one.
      restart {
        attempts = 0
        mode     = "fail"
      }

      reschedule {
        attempts  = 0
        unlimited = false
      }

      disconnect {
        lost_after = "1h"
        replace    = false
      }

      network {
        mode = local.bridged || local.spans ? "host" : "bridge"

        dynamic "port" {
          for_each = group.value == "chain" ? [local.spans ? var.port : 0] : []
          labels   = ["http"]

          content {
            static = port.value
            to     = local.spans ? port.value : 8000
          }
        }
      }

      dynamic "task" {
        for_each = keys(local.definitions)
        labels   = [task.value]

        content {
          driver       = "docker"
          kill_timeout = "10s"

          lifecycle {
            hook    = "prestart"
            sidecar = true
          }

          consul {}

          config {
            image              = var.image_sidecar
            image_pull_timeout = "15m" # the engine's own 5 are few for an emulated host
            args               = ["/local/service.json"]
            network_mode       = "host"
            readonly_rootfs    = true
            cap_drop           = ["all"]
          }

          env {
            CONSUL_HTTP_ADDR = "https://127.0.0.1:8501"
            CONSUL_GRPC_ADDR = "https://127.0.0.1:8503"
            CONSUL_CACERT    = "/local/ca.pem"
            SECRETS          = "/secrets"
            FACTS            = "/alloc/data/${task.value}.json"
            WORKERS          = "1"
          }

          template {
            data        = local.definitions[task.value]
            destination = "local/service.json"
            change_mode = "noop"
          }

          template {
            data        = var.mesh_ca
            destination = "local/ca.pem"
            change_mode = "noop"
          }

          resources {
            cpu    = var.cpu
            memory = 2 * var.memory_mb
          }
        }
      }

      dynamic "task" {
        for_each = local.members[group.value]
        labels   = [task.value]

        content {
          driver = "docker"

          config {
            image              = var.image_chain
            image_pull_timeout = "15m" # the engine's own 5 are few for an emulated host
            args               = ["--config", "/srv/socklab/gunicorn.conf.py", "service:app"]
            network_mode       = local.bridged ? "socklab" : local.spans ? "host" : ""
            network_aliases    = local.bridged ? ["${task.value}.${NOMAD_ALLOC_ID}"] : []
            ports              = local.bridged && task.value == "service-0" ? ["http"] : []
            readonly_rootfs    = true
            cap_drop           = ["all"]
          }

          env {
            BIND     = local.binds[task.value]
            NEXT     = local.nexts[task.value]
            WITHIN   = "${local.within}"
            ENCODED  = var.path == "call" ? "false" : "true"
            DELAY_MS = var.fault == "slow" && task.value == local.last ? "5" : "0"
            FAILING  = contains(["failing", "retried"], var.fault) && task.value == local.last ? "0.5" : "0"
            RETRIES  = var.fault == "retried" ? "2" : "0"
            TRACE    = local.traced[var.trace]
            SPANS    = "/alloc/data/spans-${task.value}.json"
          }

          resources {
            cpu    = var.cpu
            memory = var.memory_mb
          }
        }
      }
    }
  }
}
