# Containers that only wait, as many as are asked for: what does a host pay for each?
#
#   nomad job run -var-file=.lab/socklab/ipc.hcl -var containers=30 -var network=published jobs/crowd.nomad.hcl

variable "id" {
  description = "Name of the job."
  type        = string
  default     = "crowd"
}

variable "containers" {
  description = "How many containers, an allocation each."
  type        = number
  default     = 10

  validation {
    condition     = var.containers >= 1 && var.containers <= 200
    error_message = "The number of containers must be 1 to 200."
  }
}

variable "network" {
  description = "What each has: none (a loopback), host (the host's own), bridge (an address on the engine's), published (that and a port of the host) or group (a network namespace of Nomad's bridge mode)."
  type        = string
  default     = "none"

  validation {
    condition     = contains(["none", "host", "bridge", "published", "group"], var.network)
    error_message = "The network must be none, host, bridge, published or group."
  }
}

variable "node" {
  description = "Name of the Nomad node."
  type        = string
  default     = "lab-2"
}

variable "image_ipc" {
  description = "Image with a program that waits, by digest."
  type        = string
}

variable "cpu" {
  description = "CPU share of a container, in the lab's unit: 100000 is one core."
  type        = number
  default     = 10
}

variable "memory_mb" {
  description = "Memory of a container in MB."
  type        = number
  default     = 16
}

locals {
  published = var.network == "published"
  modes     = { none = "none", host = "host", bridge = "socklab", published = "socklab", group = "" }
}

job "crowd" {
  id          = var.id
  type        = "service"
  datacenters = ["dc1"]

  constraint {
    attribute = "${node.unique.name}"
    value     = var.node
  }

  update {
    max_parallel     = 0 # no deployment to wait for
    health_check     = "task_states"
    min_healthy_time = "0s"
  }

  group "crowd" {
    count = var.containers

    restart {
      attempts = 0
      mode     = "fail"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    ephemeral_disk {
      size = 10
    }

    dynamic "network" {
      for_each = var.network == "group" ? ["bridge"] : local.published ? ["host"] : []

      content {
        mode = network.value

        dynamic "port" {
          for_each = local.published ? ["http"] : []
          labels   = [port.value]

          content {
            to = 8080
          }
        }
      }
    }

    task "wait" {
      driver      = "docker"
      kill_signal = "SIGKILL" # nothing is lost with a process that only waits

      # Nomad starts two processes a task for its logs, and nothing is written here.
      logs {
        disabled      = true
        max_files     = 1
        max_file_size = 1
      }

      config {
        image           = var.image_ipc
        entrypoint      = ["/usr/bin/sleep"]
        args            = ["infinity"]
        network_mode    = local.modes[var.network]
        ports           = local.published ? ["http"] : []
        readonly_rootfs = true
        cap_drop        = ["all"]
      }

      resources {
        cpu    = var.cpu
        memory = var.memory_mb
      }
    }
  }
}
