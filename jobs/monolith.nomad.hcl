# One application with eight parts, or eight services with one part each; a load balancer before each
# of them, and a database of its own behind it.
#
#   nomad job run -var-file=.lab/socklab/monolith.hcl -var=shape=services -var=path=unix jobs/monolith.nomad.hcl
#
# A request has the same work to do in either shape: eight parts, each of which reads one record. As
# services that is 24 containers that talk instead of three.

variable "id" {
  description = "Name of the job; the engine gives every deployment its own."
  type        = string
  default     = "monolith"
}

variable "shape" {
  description = "How the parts are divided: monolith (all in one process, with one balancer and one database) or services (a process each, with a balancer and a database each)."
  type        = string

  validation {
    condition     = contains(["monolith", "services"], var.shape)
    error_message = "The shape must be monolith or services."
  }
}

variable "path" {
  description = "Way between balancers, services and databases: tcp-loopback (one network namespace) or unix (sockets on the shared volume)."
  type        = string

  validation {
    condition     = contains(["tcp-loopback", "unix"], var.path)
    error_message = "The path must be tcp-loopback or unix."
  }
}

variable "node" {
  description = "Name of the Nomad node; a deployment never moves to another one."
  type        = string
  default     = "lab-2"
}

variable "image_proxy" {
  description = "Image with nginx, by digest."
  type        = string
}

variable "image_chain" {
  description = "Image with gunicorn and the service, by digest."
  type        = string
}

variable "image_database" {
  description = "Image with MariaDB and a filled table, by digest."
  type        = string
}

variable "database_password" {
  description = "Password of the databases' account bench."
  type        = string
}

variable "cpu" {
  description = "CPU share of a task, in the lab's unit: 100000 is one core."
  type        = number
  default     = 10
}

variable "memory_mb" {
  description = "Memory of a task in MB; a database gets twice as much."
  type        = number
  default     = 96
}

locals {
  count  = var.shape == "services" ? 8 : 1
  within = var.shape == "services" ? 0 : 7
  unix   = var.path == "unix"

  # Where each listens; the load comes to the first balancer over TCP, whatever is between the others.
  balancers = [for number in range(local.count) : number == 0 ? "0.0.0.0:8000" : local.unix ? "unix:/alloc/tmp/balancer-${number}.sock" : "127.0.0.1:${8000 + number}"]
  services  = [for number in range(local.count) : local.unix ? "unix:/alloc/tmp/service-${number}.sock" : "127.0.0.1:${8100 + number}"]
  databases = [for number in range(local.count) : local.unix ? "unix:/alloc/tmp/database-${number}.sock" : "127.0.0.1:${8200 + number}"]
  listening = [
    for number in range(local.count) :
    local.unix ? ["--skip-networking", "--socket=/alloc/tmp/database-${number}.sock"] :
    ["--socket=/tmp/unused.sock", "--bind-address=127.0.0.1", "--port=${8200 + number}"]
  ]

  # A service asks the next one's balancer.
  nexts = concat(
    [for place in slice(local.balancers, 1, local.count) : local.unix ? place : "http://${place}/"],
    [""],
  )
}

job "monolith" {
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

  group "parts" {
    count = 1

    # A benchmark's allocation never silently moves or comes back as another one.
    constraint {
      attribute = "${node.unique.name}"
      value     = var.node
    }

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
      mode = "bridge"

      port "http" {
        to = 8000
      }
    }

    dynamic "task" {
      for_each = range(local.count)
      labels   = ["database-${task.value}"]

      content {
        driver = "docker"

        config {
          image              = var.image_database
          image_pull_timeout = "15m" # the engine's own 5 are few for an emulated host
          args = concat(
            ["--no-defaults", "--user=socklab", "--datadir=/var/lib/mysql", "--init-file=/secrets/account.sql", "--innodb-log-file-size=16M", "--innodb-buffer-pool-size=16M", "--skip-log-bin", "--skip-name-resolve"],
            local.listening[task.value],
          )
          cap_drop = ["all"]
        }

        template {
          data        = "ALTER USER bench@'%' IDENTIFIED BY '${var.database_password}' ACCOUNT UNLOCK;"
          destination = "secrets/account.sql"
          change_mode = "noop"
        }

        resources {
          cpu    = var.cpu
          memory = 2 * var.memory_mb
        }
      }
    }

    dynamic "task" {
      for_each = range(local.count)
      labels   = ["service-${task.value}"]

      content {
        driver = "docker"

        config {
          image              = var.image_chain
          image_pull_timeout = "15m" # the engine's own 5 are few for an emulated host
          args               = ["--config", "/srv/socklab/gunicorn.conf.py", "service:app"]
          readonly_rootfs    = true
          cap_drop           = ["all"]
        }

        env {
          BIND          = local.services[task.value]
          NEXT          = local.nexts[task.value]
          WITHIN        = "${local.within}"
          ENCODED       = "false"
          DATABASE      = local.databases[task.value]
          PASSWORD_FILE = "/secrets/password"
        }

        template {
          data        = var.database_password
          destination = "secrets/password"
          change_mode = "noop"
        }

        resources {
          cpu    = var.cpu
          memory = var.memory_mb
        }
      }
    }

    dynamic "task" {
      for_each = range(local.count)
      labels   = ["balancer-${task.value}"]

      content {
        driver = "docker"

        config {
          image              = var.image_proxy
          image_pull_timeout = "15m" # the engine's own 5 are few for an emulated host
          args               = ["-c", "/local/nginx.conf"]
          cap_drop           = ["all"]
        }

        template {
          data        = <<EOT
worker_processes 1;
daemon off;
pid /tmp/nginx.pid;
error_log stderr warn;
events {
  worker_connections 4096;
}
http {
  access_log off;
  client_body_temp_path /tmp/client;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  keepalive_requests 1000000000;
  upstream service {
    server ${local.services[task.value]};
    keepalive 256;
    keepalive_requests 1000000000;
  }
  server {
    listen ${local.balancers[task.value]} backlog=4096;
    location / {
      proxy_pass http://service;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
    }
  }
}
EOT
          destination = "local/nginx.conf"
          change_mode = "noop"
        }

        resources {
          cpu    = var.cpu
          memory = var.memory_mb
        }
      }
    }
  }
}
