# Two processes that talk over a network between containers; "network" says over which.
#
#   nomad job run -var-file=.lab/socklab/ipc.hcl -var-file=.lab/socklab/direct.hcl -var network=bridge jobs/networks.nomad.hcl
#
# With "peer" the serving one is on another host (over all but none and bridge). The measuring process
# is started in the container "load", by the engine or by hand: /local/load --time 2, and with
# talk=web --connections 16 after it. What macvlan, overlay and larger packets need is made by the role
# networks (make lab experiment=networks).

variable "id" {
  description = "Name of the job; the engine gives every deployment its own."
  type        = string
  default     = "networks"
}

variable "network" {
  description = "What is between the two: none (a Unix socket in a folder that both see), host (the hosts' own network), bridge (the engine's), published (a port of the host that leads to a container on the bridge), macvlan (an address on the hosts' own network for each) or overlay (VXLAN between hosts)."
  type        = string

  validation {
    condition     = contains(["none", "host", "bridge", "published", "macvlan", "overlay"], var.network)
    error_message = "The network must be none, host, bridge, published, macvlan or overlay."
  }
}

variable "talk" {
  description = "What they say to each other: ipc (messages of one kind and size) or web (requests of h2load to an ASGI application, over TCP; where there is no network over a Unix socket)."
  type        = string
  default     = "ipc"

  validation {
    condition     = contains(["ipc", "web"], var.talk)
    error_message = "The talk must be ipc or web."
  }
}

variable "mechanism" {
  description = "How messages go over it (requests always go over TCP): tcp or udp. Where there is none, a Unix stream socket stands for the one, a datagram socket for the other."
  type        = string
  default     = "tcp"

  validation {
    condition     = contains(["tcp", "udp"], var.mechanism)
    error_message = "The mechanism must be tcp or udp."
  }
}

variable "mtu" {
  description = "Most bytes of a packet on the bridge: 1500, 9000 or 65535."
  type        = number
  default     = 1500

  validation {
    condition     = contains([1500, 9000, 65535], var.mtu)
    error_message = "The mtu must be 1500, 9000 or 65535."
  }
}

variable "node" {
  description = "Name of the Nomad node; a deployment never moves to another one."
  type        = string
  default     = "lab-2"
}

variable "peer" {
  description = "Name of the Nomad node of the serving end; empty: the same one."
  type        = string
  default     = ""
}

variable "peer_address" {
  description = "IPv4 address of that node."
  type        = string
  default     = ""
}

variable "port" {
  description = "First of two ports of the serving end's host that only this deployment uses; its containers' addresses follow from it."
  type        = number
  default     = 12000

  validation {
    condition     = var.port >= 12000 && var.port < 12512
    error_message = "The port must be 12000 to 12511: 64 deployments have eight each."
  }
}

variable "latency_bytes" {
  description = "Sizes of the messages that go and come back, in bytes, separated by commas; empty for none."
  type        = string
  default     = "64"

  validation {
    condition     = regex_replace(var.latency_bytes, "^[0-9]+(,[0-9]+)*$", "") == ""
    error_message = "The latency_bytes must be whole numbers, separated by commas."
  }
}

variable "throughput_bytes" {
  description = "Sizes of the messages that go one way, in bytes, separated by commas; empty for none."
  type        = string
  default     = "4096,32768"

  validation {
    condition     = regex_replace(var.throughput_bytes, "^[0-9]+(,[0-9]+)*$", "") == ""
    error_message = "The throughput_bytes must be whole numbers, separated by commas."
  }
}

variable "image_ipc" {
  description = "Image with the program ipc, by digest."
  type        = string
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
  description = "Memory of a task in MB; with talk=web four times as much."
  type        = number
  default     = 64
}

locals {
  # A variable's validation sees that variable alone (Nomad 1.11). Of the functions, parseint is the
  # one whose refusal says the text that it was given.
  refused = [
    for reason, wrong in {
      "The networks none and bridge are within one host: no peer."                          = var.peer != "" && contains(["none", "bridge"], var.network)
      "An mtu is the bridge's, and a published port's: no other network has one to choose." = var.mtu != 1500 && !contains(["bridge", "published"], var.network)
    } : parseint(reason, 10) if wrong
  ]

  web     = var.talk == "web"
  spans   = var.peer != ""
  none    = var.network == "none"
  shared  = contains(["macvlan", "overlay"], var.network) # a subnet that hosts share
  bridge  = var.mtu == 1500 ? "socklab" : "socklab-${var.mtu}"
  number  = floor((var.port - 12000) / 8)
  subnet  = var.network == "overlay" ? "198.19.255.0/24" : "198.19.254.0/24"
  meeting = "/alloc/tmp"

  # A published port is called from the host itself, or from another host's bridge.
  modes = {
    none      = { serve = "none", load = "none" }
    host      = { serve = "host", load = "host" }
    bridge    = { serve = local.bridge, load = local.bridge }
    published = { serve = local.bridge, load = local.spans ? local.bridge : "host" }
    macvlan   = { serve = "socklab-macvlan", load = "socklab-macvlan" }
    overlay   = { serve = "socklab-overlay", load = "socklab-overlay" }
  }
  addresses = local.shared ? { serve = cidrhost(local.subnet, 64 + local.number), load = cidrhost(local.subnet, 128 + local.number) } : { serve = "", load = "" }

  # Where the serving end waits, and where the measuring one finds it.
  own   = var.network == "host" ? "${local.spans ? var.peer_address : "127.0.0.1"}:${var.port}" : "0.0.0.0:${var.port}"
  waits = local.none ? local.meeting : "tcp:${local.own}"
  found = (
    var.network == "bridge" ? "$(getent hosts serve.{{ env \"NOMAD_ALLOC_ID\" }} | cut -d ' ' -f 1):${var.port}" :
    var.network == "published" ? (local.spans ? "${var.peer_address}:${var.port}" : "{{ env \"NOMAD_HOST_ADDR_meet\" }}") :
    local.shared ? "${local.addresses.serve}:${var.port}" : local.own
  )
  place     = local.none ? local.meeting : "tcp:${local.found}"
  mechanism = local.none ? (var.mechanism == "tcp" ? "unix-stream" : "unix-datagram") : var.mechanism

  asked = join(" ", concat(
    var.latency_bytes == "" ? [] : ["--latency", var.latency_bytes],
    var.throughput_bytes == "" ? [] : ["--throughput", var.throughput_bytes],
    var.mechanism == "tcp" ? ["--connect"] : [],
  ))

  socket = "${local.meeting}/app.sock"
  url    = local.none ? "http://application/" : "http://${local.found}/"

  # h2load's log is counted here, where it is: it has a line a request.
  requests = <<EOT
#!/bin/sh
# --time SECONDS --connections NUMBER
set -eu
[ "$1 $3" = "--time --connections" ]
h2load --h1 --threads 1 --duration "$2" --clients "$4" --log-file /local/requests${local.none ? " --base-uri=unix:${local.socket}" : ""} ${local.url}
echo 'latencies from the sending, us and count:'
awk '$2 != "-1" {n[$3]++} END {for (us in n) print us "\t" n[us]}' /local/requests | sort -n
rm /local/requests # h2load would append to it
EOT
  answer   = "curl --silent --show-error --fail --max-time 2${local.none ? " --unix-socket ${local.socket}" : ""} ${local.url} | grep -q '\"hello\":\"world\"'"

  files = {
    "local/load"  = local.web ? local.requests : "#!/bin/sh\nexec ipc measure ${local.mechanism} \"${local.place}\" ${local.asked} \"$@\"\n"
    "local/ready" = local.web ? "#!/bin/sh\n${local.answer}\n" : "#!/bin/sh\nexec ipc measure ${local.mechanism} \"${local.place}\" --latency 1 --time 0.01\n"
  }

  images  = local.web ? { serve = var.image_app, load = var.image_caller } : { serve = var.image_ipc, load = var.image_ipc }
  program = local.web ? ["/usr/bin/gunicorn"] : ["/usr/local/bin/ipc"]
  told    = local.web ? ["--config", "/srv/socklab/gunicorn.conf.py"] : ["serve", local.waits]
  bind    = local.none ? "unix:${local.socket}" : local.own

  # The measured host's end first: what is asked, is asked from there.
  groups = local.spans ? { near = ["load"], far = ["serve"] } : { near = ["serve", "load"] }
  nodes  = { near = var.node, far = var.peer }
}

job "networks" {
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
    for_each = local.spans ? ["near", "far"] : ["near"]
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

      dynamic "network" {
        for_each = var.network == "published" && contains(local.groups[group.value], "serve") ? ["host"] : []

        content {
          mode = network.value

          port "meet" {
            static = var.port
            to     = var.port
          }

          port "data" {
            static = var.port + 1
            to     = var.port + 1
          }
        }
      }

      dynamic "task" {
        for_each = local.groups[group.value]
        labels   = [task.value]

        content {
          driver = "docker"
          # Nothing is lost with a process that only waits, and the first one of a container that
          # handles no signal would wait for the end of the kill timeout.
          kill_signal = task.value == "load" ? "SIGKILL" : "SIGTERM"

          # Up before the other looks for it.
          dynamic "lifecycle" {
            for_each = task.value == "serve" && !local.spans ? ["prestart"] : []

            content {
              hook    = lifecycle.value
              sidecar = true
            }
          }

          config {
            image              = local.images[task.value]
            image_pull_timeout = "15m" # the engine's own 5 are few for an emulated host
            entrypoint         = task.value == "serve" ? local.program : ["/usr/bin/sleep"]
            args               = task.value == "serve" ? local.told : ["infinity"]
            network_mode       = local.modes[var.network][task.value]
            network_aliases    = var.network == "bridge" ? ["${task.value}.${NOMAD_ALLOC_ID}"] : []
            ipv4_address       = local.addresses[task.value]
            ports              = var.network == "published" && task.value == "serve" ? ["meet", "data"] : []
            readonly_rootfs    = true
            cap_drop           = ["all"]
          }

          dynamic "template" {
            for_each = task.value == "load" ? local.files : {}

            content {
              data        = template.value
              destination = template.key
              change_mode = "noop"
              perms       = "0755"
            }
          }

          env = local.web && task.value == "serve" ? { BIND = local.bind } : {}

          resources {
            cpu    = var.cpu
            memory = local.web ? 4 * var.memory_mb : var.memory_mb
          }
        }
      }
    }
  }
}
