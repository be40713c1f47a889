# A job whose task fails at once: what the engine must then say is tested with it.

variable "path" {
  description = "Any name."
  type        = string
}

variable "node" {
  description = "Name of the Nomad node."
  type        = string
}

variable "host_cpus" {
  description = "CPUs of the node."
  type        = string
}

variable "image_proxy" {
  description = "Any image."
  type        = string
}

variable "image_app" {
  description = "Image with a Python to fail with."
  type        = string
}

variable "image_combined" {
  description = "Any image."
  type        = string
}

job "broken" {
  constraint {
    attribute = "${node.unique.name}"
    value     = var.node
  }

  group "broken" {
    restart {
      attempts = 0
      mode     = "fail"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    network {
      port "http" {}
    }

    task "app" {
      driver = "docker"

      config {
        image      = var.image_app
        entrypoint = ["/bin/sh", "-c", "echo socklab-says-boom ${var.path} >&2; exit 1"]
      }
    }
  }
}
