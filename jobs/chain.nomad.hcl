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
  description = "Way between the services: call (functions of one process that hand over objects), encoded (the same, that hand over JSON), unix (sockets on the shared volume) and tcp-loopback (a container each, one network namespace), tcp-bridge (a container each, with namespaces of their own on the engine's bridge), tcp-hosts (every second one on the other host, over the hosts' network)."
  type        = string

  validation {
    condition     = contains(["call", "encoded", "unix", "tcp-loopback", "tcp-bridge", "tcp-hosts"], var.path)
    error_message = "The path must be call, encoded, unix, tcp-loopback, tcp-bridge or tcp-hosts."
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
  description = "IPv4 address of that node, with tcp-hosts."
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
  description = "First of four ports of both hosts that only this deployment uses, with tcp-hosts."
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

variable "cpu" {
  description = "CPU share of a task, in the lab's unit: 100000 is one core."
  type        = number
  default     = 10
}

variable "memory_mb" {
  description = "Memory of a task in MB."
  type        = number
  default     = 96
}

locals {
  bridged = var.path == "tcp-bridge"
  spans   = var.path == "tcp-hosts"
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

  # Load comes over TCP to the first one, whatever is between the others.
  binds = {
    for number in range(local.count) : "service-${number}" =>
    local.spans ? local.at[number] :
    number == 0 || local.bridged ? "0.0.0.0:${8000 + number}" :
    var.path == "unix" ? "unix:/alloc/tmp/service-${number}.sock" :
    "127.0.0.1:${8000 + number}"
  }
  nexts = {
    for number in range(local.count) : "service-${number}" =>
    number == local.count - 1 ? "" :
    local.spans ? "http://${local.at[number + 1]}/" :
    var.path == "unix" ? "unix:/alloc/tmp/service-${number + 1}.sock" :
    local.bridged ? "http://service-${number + 1}.${NOMAD_ALLOC_ID}:${8001 + number}/" :
    "http://127.0.0.1:${8001 + number}/"
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
