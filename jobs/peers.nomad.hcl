# Somebody else's benchmark program, which measures what ipc measures: do they agree?
#
#   nomad job run -var-file=.lab/socklab/peers.hcl -var benchmark=redis-unix jobs/peers.nomad.hcl
#
# It is started in the container "load", by the engine or by hand: /local/load --time 2. Where it
# needs a server, that is a container beside it, and the two share the allocation's folder and a
# network namespace that has nothing but its loopback.

variable "id" {
  description = "Name of the job; the engine gives every deployment its own."
  type        = string
  default     = "peers"
}

variable "benchmark" {
  description = "Which program, and over what its processes talk: redis-tcp, redis-unix, sockperf-tcp, sockperf-udp, iperf3-tcp, perf-pipe, stress-ng-pipe, stress-ng-mq, stress-ng-msg, stress-ng-sockpair or stress-ng-udp."
  type        = string

  validation {
    condition     = contains(["redis-tcp", "redis-unix", "sockperf-tcp", "sockperf-udp", "iperf3-tcp", "perf-pipe", "stress-ng-pipe", "stress-ng-mq", "stress-ng-msg", "stress-ng-sockpair", "stress-ng-udp"], var.benchmark)
    error_message = "The benchmark must be redis-tcp, redis-unix, sockperf-tcp, sockperf-udp, iperf3-tcp, perf-pipe, stress-ng-pipe, stress-ng-mq, stress-ng-msg, stress-ng-sockpair or stress-ng-udp."
  }
}

variable "node" {
  description = "Name of the Nomad node; a deployment never moves to another one."
  type        = string
  default     = "lab-2"
}

variable "image_peers" {
  description = "Image with the programs, by digest."
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
  default     = 128
}

locals {
  socket = "/alloc/tmp/redis.sock"
  stress = "stress-ng --metrics-brief --temp-path /alloc/tmp -t $2"

  # Messages are those of the experiment ipc, 64 bytes there and back, 32 KiB one way, where a program
  # lets one choose; perf's have 4 bytes, stress-ng's are its own. A program that
  # is told a number in place of a time gets one that a slow host, too, is done with in time; sockperf
  # takes half a second for itself; stress-ng's figures are on its standard error.
  commands = {
    redis-tcp          = "redis-benchmark --csv -t set,get -c 1 -d 64 -n $((3000 * $2)) -h 127.0.0.1"
    redis-unix         = "redis-benchmark --csv -t set,get -c 1 -d 64 -n $((3000 * $2)) -s ${local.socket}"
    sockperf-tcp       = "sockperf ping-pong --full-rtt -i 127.0.0.1 -p 11111 -m 64 -t $(($2 + 1)) --tcp"
    sockperf-udp       = "sockperf ping-pong --full-rtt -i 127.0.0.1 -p 11111 -m 64 -t $(($2 + 1))"
    iperf3-tcp         = "iperf3 -c 127.0.0.1 -J -l 32768 -t $2"
    perf-pipe          = "perf bench sched pipe -l $((30000 * $2))"
    stress-ng-pipe     = "${local.stress} --pipe 1"
    stress-ng-mq       = "${local.stress} --mq 1"
    stress-ng-msg      = "${local.stress} --msg 1"
    stress-ng-sockpair = "${local.stress} --sockpair 1"
    stress-ng-udp      = "${local.stress} --udp 1"
  }
  kind = split("-", var.benchmark)[0]
  servers = {
    redis = {
      argv  = ["/usr/bin/redis-server", "--bind", "127.0.0.1", "--unixsocket", local.socket, "--unixsocketperm", "777", "--save", "", "--dir", "/alloc/tmp"]
      ready = "redis-cli -s ${local.socket} ping"
    }
    sockperf = {
      argv  = concat(["/usr/bin/sockperf", "server", "-i", "127.0.0.1", "-p", "11111"], var.benchmark == "sockperf-tcp" ? ["--tcp"] : [])
      ready = "sockperf ping-pong -i 127.0.0.1 -p 11111 -t 1 ${var.benchmark == "sockperf-tcp" ? "--tcp" : ""}"
    }
    iperf3 = {
      argv  = ["/usr/bin/iperf3", "-s", "-B", "127.0.0.1"]
      ready = "iperf3 -c 127.0.0.1 -n 1K"
    }
  }
  serves = contains(keys(local.servers), local.kind)
  server = local.serves ? local.servers[local.kind] : { argv = [""], ready = "true" }
  files = {
    "local/load"  = "#!/bin/sh\n# load --time SECONDS\nexec ${local.commands[var.benchmark]} 2>&1\n"
    "local/ready" = "#!/bin/sh\nexec ${local.server.ready}\n"
  }
}

job "peers" {
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

  group "peers" {
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
      for_each = local.serves ? ["serve"] : []
      labels   = [task.value]

      content {
        driver = "docker"

        # First, since the other joins its network.
        lifecycle {
          hook    = "prestart"
          sidecar = true
        }

        config {
          image              = var.image_peers
          image_pull_timeout = "15m" # the engine's own 5 are few for an emulated host
          entrypoint         = [local.server.argv[0]]
          args               = slice(local.server.argv, 1, length(local.server.argv))
          network_mode       = "none" # a loopback and nothing else
          readonly_rootfs    = true
          cap_drop           = ["all"]
        }

        # iperf3 maps a file of its own.
        env {
          TMPDIR = "/alloc/tmp"
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
        image              = var.image_peers
        image_pull_timeout = "15m" # the engine's own 5 are few for an emulated host
        entrypoint         = ["/usr/bin/sleep"]
        args               = ["infinity"]
        network_mode       = local.serves ? "container:serve-$${NOMAD_ALLOC_ID}" : "none"
        readonly_rootfs    = true
        cap_drop           = ["all"]
      }

      env {
        TMPDIR = "/alloc/tmp"
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
