# A container that uses a known amount of memory, and can be asked what free and ps say in it.
#
#   nomad job run -var-file=.lab/socklab/images.hcl jobs/views.nomad.hcl

variable "id" {
  description = "Name of the job."
  type        = string
  default     = "views"
}

variable "node" {
  description = "Name of the Nomad node."
  type        = string
  default     = "lab-2"
}

variable "image_app" {
  description = "Image with Python, by digest."
  type        = string
}

variable "held_mb" {
  description = "Memory that the process holds, and as much of a file that it has read, in MB each."
  type        = number
  default     = 48
}

variable "cpu" {
  description = "CPU share, in the lab's unit: 100000 is one core."
  type        = number
  default     = 10
}

variable "memory_mb" {
  description = "Memory limit in MB."
  type        = number
  default     = 160
}

locals {
  # What free and ps read. Prints {total, used, processes, resident}: bytes, but for the processes.
  view  = <<-EOT
    #!/usr/bin/python3 -I
    import json, os
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in open("/proc/meminfo"))}
    resident = []
    for one in filter(str.isdigit, os.listdir("/proc")):
        try:
            resident.append(int(open(f"/proc/{one}/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
        except OSError:
            pass
    print(json.dumps({"total": kib["MemTotal"] * 1024, "used": (kib["MemTotal"] - kib["MemAvailable"]) * 1024,
                      "processes": len(resident), "resident": sum(resident)}))
  EOT
  holds = <<-EOT
    #!/usr/bin/python3 -I
    import signal
    size = ${var.held_mb} << 20
    held = bytearray(b"x") * size
    with open("/alloc/tmp/file", "wb") as made:
        made.write(held)
    with open("/alloc/tmp/file", "rb") as file:
        while file.read(1 << 20):
            pass
    open("/alloc/tmp/ready", "w").close()
    signal.pause()
  EOT
  files = {
    "local/load"  = local.view
    "local/ready" = "#!/bin/sh\nexec test -e /alloc/tmp/ready\n"
    "local/holds" = local.holds
  }
}

job "views" {
  id          = var.id
  type        = "service"
  datacenters = ["dc1"]

  constraint {
    attribute = "${node.unique.name}"
    value     = var.node
  }

  group "views" {
    count = 1

    restart {
      attempts = 0
      mode     = "fail"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    task "load" {
      driver      = "docker"
      kill_signal = "SIGKILL"

      config {
        image              = var.image_app
        image_pull_timeout = "15m" # the engine's own 5 are few for an emulated host
        entrypoint         = ["/usr/bin/python3", "-I", "/local/holds"]
        network_mode       = "none"
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
