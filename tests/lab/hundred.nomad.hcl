# Many services on one host that all bind the same socket path, each in a container of its own.
# Each answers a connection with its allocation's id: whoever calls knows whom they reached.

variable "count" {
  description = "How many."
  type        = number
  default     = 100
}

variable "node" {
  description = "Name of the Nomad node."
  type        = string
  default     = "lab-2"
}

variable "image_proxy" {
  description = "This job has no use for it."
  type        = string
}

variable "image_app" {
  description = "Image with a Python to listen with."
  type        = string
}

variable "image_combined" {
  description = "This job has no use for it."
  type        = string
}

locals {
  listen = <<EOT
import os, socket
server = socket.socket(socket.AF_UNIX)
server.bind("/alloc/tmp/app.sock")
server.listen()
while True:
    caller, _ = server.accept()
    with caller:
        caller.sendall(os.environ["NOMAD_ALLOC_ID"].encode())
EOT
}

job "hundred" {
  constraint {
    attribute = "${node.unique.name}"
    value     = var.node
  }

  update {
    max_parallel     = 0 # no deployment to wait for
    health_check     = "task_states"
    min_healthy_time = "0s"
  }

  group "service" {
    count = var.count

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

    task "app" {
      driver = "docker"

      # Nomad starts two processes a task for its logs: 200 here, and nobody reads them.
      logs {
        disabled      = true
        max_files     = 1
        max_file_size = 1
      }

      config {
        image           = var.image_app
        entrypoint      = ["/usr/bin/python3", "-I", "-S", "-c", local.listen]
        network_mode    = "none"
        readonly_rootfs = true
        cap_drop        = ["all"]
      }

      resources {
        cpu    = 10
        memory = 32
      }
    }
  }
}
