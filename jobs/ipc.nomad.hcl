# Two processes of one host that talk; "mechanism" says how, "where" which containers they are in.
#
#   nomad job run -var-file=.lab/socklab/ipc.hcl -var mechanism=unix-stream jobs/ipc.nomad.hcl
#
# The measuring process is started in the container "load", by the engine or by hand:
# /local/load --time 2. Two containers share the allocation's folder, in which their ends meet, and
# beside it only what the mechanism needs: a network namespace that has nothing but its loopback, an
# IPC namespace, or nothing.

variable "id" {
  description = "Name of the job. The engine gives every deployment its own."
  type        = string
  default     = "ipc"
}

variable "mechanism" {
  description = "How the two talk (ipc list): pipe, fifo, posix-queue, system-v-queue, memory-spin, memory-futex, memory-eventfd, mapped-file, locked-file, unix-stream, unix-seqpacket, unix-datagram, unix-abstract, socketpair, tcp, udp or vsock."
  type        = string

  validation {
    condition     = contains(["pipe", "fifo", "posix-queue", "system-v-queue", "memory-spin", "memory-futex", "memory-eventfd", "mapped-file", "locked-file", "unix-stream", "unix-seqpacket", "unix-datagram", "unix-abstract", "socketpair", "tcp", "udp", "vsock"], var.mechanism)
    error_message = "The mechanism must be pipe, fifo, posix-queue, system-v-queue, memory-spin, memory-futex, memory-eventfd, mapped-file, locked-file, unix-stream, unix-seqpacket, unix-datagram, unix-abstract, socketpair, tcp, udp or vsock."
  }
}

variable "where" {
  description = "Where the two are: one (both processes in one container) or two (a container each)."
  type        = string
  default     = "two"

  validation {
    condition     = contains(["one", "two"], var.where)
    error_message = "The ends must be in one container or in two."
  }
}

variable "node" {
  description = "Name of the Nomad node; a deployment never moves to another one."
  type        = string
  default     = "lab-2"
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

variable "connect" {
  description = "Whether connections are measured too, of mechanisms that have them."
  type        = bool
  default     = true
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
  description = "Which CPUs of the node the two run on: any (the kernel chooses), same (both on the last one), apart (the serving one on the first, the measuring one on the last)."
  type        = string
  default     = "any"

  validation {
    condition     = contains(["any", "same", "apart"], var.cpus)
    error_message = "The cpus must be any, same or apart."
  }
}

variable "confinement" {
  description = "What stands between a container's processes and the kernel: default (the engine's own list of system calls, by seccomp), unconfined (no list), user-namespace (no list, and the program in a user namespace of its own)."
  type        = string
  default     = "default"

  validation {
    condition     = contains(["default", "unconfined", "user-namespace"], var.confinement)
    error_message = "The confinement must be default, unconfined or user-namespace."
  }
}

variable "image_ipc" {
  description = "Image with the program ipc, by digest."
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
  default     = 64
}

locals {
  two = var.where == "two"

  # What `ipc list` says that two containers must share.
  shares_network = contains(["unix-abstract", "tcp", "udp", "vsock"], var.mechanism)
  shares_ipc     = contains(["posix-queue", "system-v-queue", "memory-spin", "memory-futex"], var.mechanism)

  # The engine could only put all of a host's containers into a user namespace, and its list of system
  # calls lets nobody make one: so the program makes it, where there is no list. Not unshare(1), whose
  # refusal would be a failed run and not the program's answer.
  security = var.confinement == "default" ? [] : ["seccomp=unconfined"]
  within   = var.confinement == "user-namespace" ? ["--user-namespace"] : []

  other = "container:serve-$${NOMAD_ALLOC_ID}"

  # Nobody but this allocation's tasks sees the folder.
  meeting = "/alloc/tmp"

  # By affinity: Nomad has cores to give away, but each to one task only, and every arm is up at
  # once. The waiting process of "load" is pinned for the record: what is started there is not its child.
  cpus     = split(",", var.host_cpus)
  last     = local.cpus[length(local.cpus) - 1]
  serving  = var.cpus == "apart" ? local.cpus[0] : local.last
  pinned   = var.cpus != "any"
  on_first = local.pinned ? ["/usr/bin/taskset", "-c", local.serving] : []
  on_last  = local.pinned && (local.two || var.cpus == "same") ? ["/usr/bin/taskset", "-c", local.last] : []

  asked = join(" ", concat(
    [var.mechanism],
    local.within,
    [local.meeting],
    local.two ? [] : ["--fork", "--cpus", "${var.cpus}:${var.host_cpus}"],
    var.latency_bytes == "" ? [] : ["--latency", var.latency_bytes],
    var.throughput_bytes == "" ? [] : ["--throughput", var.throughput_bytes],
    var.connect ? ["--connect"] : [],
  ))
  files = {
    "local/load" = "#!/bin/sh\nexec ${join(" ", concat(local.on_last, ["ipc"]))} measure ${local.asked} \"$@\"\n"
    # The serving end answers where it can be met at all; a pipe needs nothing else. That it may not
    # serve (3) is an answer too, and the run's.
    "local/ready" = "#!/bin/sh\nipc measure pipe ${local.meeting} ${local.two ? "" : "--fork "}--latency 1 --time 0.01 || test $? = 3\n"
  }
}

job "ipc" {
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

  group "ipc" {
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

    dynamic "task" {
      for_each = local.two ? ["serve"] : []
      labels   = [task.value]

      content {
        driver = "docker"

        # First, since the other joins its namespaces.
        lifecycle {
          hook    = "prestart"
          sidecar = true
        }

        config {
          image              = var.image_ipc
          image_pull_timeout = "15m" # the engine's own 5 are few for an emulated host
          entrypoint         = concat(local.on_first, ["/usr/local/bin/ipc"])
          args               = concat(["serve"], local.within, [local.meeting])
          network_mode       = "none" # a loopback and nothing else
          ipc_mode           = local.shares_ipc ? "shareable" : "private"
          security_opt       = local.security
          readonly_rootfs    = true
          cap_drop           = ["all"]
        }

        resources {
          cpu    = var.cpu
          memory = var.memory_mb
        }
      }
    }

    task "load" {
      driver = "docker"
      # Nothing is lost with a process that only waits, and the first one of a container that
      # handles no signal would wait for the end of the kill timeout.
      kill_signal = "SIGKILL"

      config {
        image              = var.image_ipc
        image_pull_timeout = "15m" # the engine's own 5 are few for an emulated host
        entrypoint         = concat(local.on_last, ["/usr/bin/sleep"])
        args               = ["infinity"]
        network_mode       = local.two && local.shares_network ? local.other : "none"
        ipc_mode           = local.two && local.shares_ipc ? local.other : "private"
        security_opt       = local.security
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
