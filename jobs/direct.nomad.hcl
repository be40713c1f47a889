# An ASGI application and its caller, nothing between them: over a Unix socket, or over loopback TCP.
#
#   nomad job run -var-file=.lab/socklab/direct.hcl -var path=unix jobs/direct.nomad.hcl
#
# The load is started in the container "load", by the engine or by hand:
# /local/load --time 2 --connections 16. Both containers share a network namespace that has nothing but
# its loopback, and the allocation's folder, whichever of the two they use.

variable "id" {
  description = "Name of the job; the engine gives every deployment its own."
  type        = string
  default     = "direct"
}

variable "path" {
  description = "Way between caller and application: unix or tcp-loopback."
  type        = string

  validation {
    condition     = contains(["unix", "tcp-loopback"], var.path)
    error_message = "The path must be unix or tcp-loopback."
  }
}

variable "workers" {
  description = "Worker processes of the application."
  type        = number
  default     = 1

  validation {
    condition     = var.workers >= 1 && var.workers <= 64
    error_message = "The number of workers must be 1 to 64."
  }
}

variable "work" {
  description = "What each request costs the application beside its answer: none, cpu (hashing), memory (copying more than its cache holds)."
  type        = string
  default     = "none"

  validation {
    condition     = contains(["none", "cpu", "memory"], var.work)
    error_message = "The work must be none, cpu or memory."
  }
}

variable "response_bytes" {
  description = "Least size of the answer's body in bytes; 0 leaves it as it is (about 90)."
  type        = number
  default     = 0
}

variable "node" {
  description = "Name of the Nomad node; a deployment never moves to another one."
  type        = string
  default     = "lab-2"
}

variable "host_cpus" {
  description = "CPUs of the node, separated by commas."
  type        = string
  default     = "0"

  validation {
    condition     = regex_replace(var.host_cpus, "^[0-9]+(,[0-9]+)*$", "valid") == "valid"
    error_message = "The host_cpus must be whole numbers, separated by commas."
  }
}

variable "cpus" {
  description = "Which CPUs of the node the two run on: any (the kernel chooses), same (both on the last one), apart (the application on the first, the caller on the last)."
  type        = string
  default     = "any"

  validation {
    condition     = contains(["any", "same", "apart"], var.cpus)
    error_message = "The cpus must be any, same or apart."
  }
}

variable "image_app" {
  description = "Image with gunicorn and the application, by digest."
  type        = string
}

variable "image_caller" {
  description = "Image with h2load and curl, by digest."
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
  default     = 256
}

locals {
  unix = var.path == "unix"
  bind = local.unix ? "unix:/alloc/tmp/app.sock" : "127.0.0.1:8000"
  url  = local.unix ? "http://application/" : "http://127.0.0.1:8000/"

  # By affinity: Nomad has cores to give away, but each to one task only, and every arm is up at
  # once. The waiting process of "load" is pinned for the record: what is started there is not its child.
  cpus    = split(",", var.host_cpus)
  last    = local.cpus[length(local.cpus) - 1]
  pinned  = var.cpus != "any"
  serving = local.pinned ? ["/usr/bin/taskset", "-c", var.cpus == "apart" ? local.cpus[0] : local.last] : []
  asking  = local.pinned ? ["/usr/bin/taskset", "-c", local.last] : []

  # The log is counted here, where it is: it has a line a request.
  load = <<EOT
#!/bin/sh
# --time SECONDS --connections NUMBER
set -eu
[ "$1 $3" = "--time --connections" ]
${join(" ", concat(local.asking, ["h2load --h1 --threads 1 --duration \"$2\" --clients \"$4\" --log-file /local/requests"]))}${local.unix ? " --base-uri=${local.bind}" : ""} ${local.url}
echo 'latencies from the sending, us and count:'
awk '$2 != "-1" {n[$3]++} END {for (us in n) print us "\t" n[us]}' /local/requests | sort -n
rm /local/requests # h2load would append to it
EOT

  ready = <<EOT
#!/bin/sh
curl --silent --show-error --fail --max-time 2${local.unix ? " --unix-socket /alloc/tmp/app.sock" : ""} ${local.url} | grep -q '"hello":"world"'
EOT

  files = { "local/load" = local.load, "local/ready" = local.ready }
}

job "direct" {
  id          = var.id
  type        = "service"
  datacenters = ["dc1"]

  constraint {
    attribute = "${node.unique.name}"
    value     = var.node
  }

  update {
    max_parallel      = 1
    health_check      = "task_states"
    min_healthy_time  = "1s"
    healthy_deadline  = "60s"
    progress_deadline = "90s"
    auto_revert       = false
  }

  group "direct" {
    count = 1

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

    task "app" {
      driver = "docker"

      # First, since the other joins its network.
      lifecycle {
        hook    = "prestart"
        sidecar = true
      }

      config {
        image              = var.image_app
        image_pull_timeout = "15m" # the engine's own 5 are few for an emulated host
        entrypoint         = concat(local.serving, ["/usr/bin/gunicorn"])
        args               = ["--config", "/srv/socklab/gunicorn.conf.py"]
        network_mode       = "none" # a loopback and nothing else
        readonly_rootfs    = true
        cap_drop           = ["all"]
      }

      env {
        BIND           = local.bind
        WORKERS        = "${var.workers}"
        RESPONSE_BYTES = "${var.response_bytes}"
        WORK           = var.work
      }

      resources {
        cpu    = var.cpu
        memory = var.memory_mb
      }
    }

    task "load" {
      driver = "docker"
      # Nothing is lost with a process that only waits, and the first one of a container that
      # handles no signal would wait for the end of the kill timeout.
      kill_signal = "SIGKILL"

      config {
        image              = var.image_caller
        image_pull_timeout = "15m" # the engine's own 5 are few for an emulated host
        entrypoint         = concat(local.asking, ["/usr/bin/sleep"])
        args               = ["infinity"]
        network_mode       = "container:app-${NOMAD_ALLOC_ID}"
        readonly_rootfs    = true
        cap_drop           = ["all"]
      }

      dynamic "template" {
        for_each = local.files

        content {
          data        = template.value
          destination = template.key
          change_mode = "noop"
          perms       = "0755"
        }
      }

      resources {
        cpu    = var.cpu
        memory = var.memory_mb
      }
    }
  }
}
