# Two processes of one host that exchange messages in a format, over a Unix socket or loopback TCP.
#
#   nomad job run -var-file=.lab/socklab/serialisation.hcl -var format=json jobs/serialisation.nomad.hcl
#
# The measuring process is started in the container "load", by the engine or by hand:
# /local/load --time 2. The two containers share the allocation's folder, for TCP a network namespace
# that has nothing but its loopback instead.

variable "id" {
  description = "Name of the job; the engine gives every deployment its own."
  type        = string
  default     = "serialisation"
}

variable "format" {
  description = "How a message becomes bytes: none (they are bytes already), json (Python's own), ujson, msgpack, protobuf, or grpc (protobuf in gRPC's calls)."
  type        = string

  validation {
    condition     = contains(["none", "json", "ujson", "msgpack", "protobuf", "grpc"], var.format)
    error_message = "The format must be none, json, ujson, msgpack, protobuf or grpc."
  }
}

variable "transport" {
  description = "What the messages go over: unix or tcp (loopback)."
  type        = string
  default     = "unix"

  validation {
    condition     = contains(["unix", "tcp"], var.transport)
    error_message = "The transport must be unix or tcp."
  }
}

variable "bytes" {
  description = "Sizes of the messages as compact JSON, in bytes, separated by commas."
  type        = string
  default     = "100,1024,65536"

  validation {
    condition     = regex_replace(var.bytes, "^[0-9]+(,[0-9]+)*$", "valid") == "valid"
    error_message = "The bytes must be whole numbers, separated by commas."
  }
}

variable "node" {
  description = "Name of the Nomad node; a deployment never moves to another one."
  type        = string
  default     = "lab-2"
}

variable "image_serialisation" {
  description = "Image with the measuring program and the formats' libraries, by digest."
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
  address = var.transport == "unix" ? "unix:/alloc/tmp/messages.sock" : "tcp:127.0.0.1:9000"
  program = "/usr/bin/python3 /srv/socklab/messages.py"
  files = {
    "local/load"  = "#!/bin/sh\nexec ${local.program} measure ${var.format} ${local.address} --bytes ${var.bytes} \"$@\"\n"
    "local/ready" = "#!/bin/sh\nexec ${local.program} measure ${var.format} ${local.address} --bytes 100 --time 0.05\n"
  }
}

job "serialisation" {
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

  group "serialisation" {
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

    task "serve" {
      driver = "docker"

      # First, since the other may join its network.
      lifecycle {
        hook    = "prestart"
        sidecar = true
      }

      config {
        image              = var.image_serialisation
        image_pull_timeout = "15m" # the engine's own 5 are few for an emulated host
        args               = ["serve", var.format, local.address]
        network_mode       = "none" # a loopback and nothing else
        readonly_rootfs    = true
        cap_drop           = ["all"]
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
        image              = var.image_serialisation
        image_pull_timeout = "15m" # the engine's own 5 are few for an emulated host
        entrypoint         = ["/usr/bin/sleep"]
        args               = ["infinity"]
        network_mode       = var.transport == "tcp" ? "container:serve-${NOMAD_ALLOC_ID}" : "none"
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
