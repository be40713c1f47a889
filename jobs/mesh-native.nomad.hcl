# The web mesh in Nomad's own way: Connect blocks, whose registration, tokens and Envoy bootstrap are
# Nomad's, with a Unix socket at both ends. Nothing is measured with it; jobs/mesh.nomad.hcl is (docs/mesh.md).
#
#   nomad job run -var-file=.lab/socklab/mesh.hcl jobs/mesh-native.nomad.hcl
#
# Nomad has local_bind_socket_path for upstreams and nothing for the service: there, Envoy's escape hatch
# replaces the local cluster by one with the application's socket.

variable "id" {
  description = "Name of the job; its services are ID-client and ID-server. Nomad's agents may only deregister names that begin with native-."
  type        = string
  default     = "native-web"

  validation {
    condition     = regex_replace(var.id, "^native-[a-z0-9-]*[a-z0-9]$", "") == ""
    error_message = "The id must begin with native- and have only a-z, 0-9 and inner hyphens."
  }
}

variable "node" {
  description = "Name of the Nomad node of nginx; a deployment never moves to another one."
  type        = string
  default     = "lab-2"
}

variable "peer" {
  description = "Name of the Nomad node of the application."
  type        = string
  default     = "lab-3"
}

variable "image_app" {
  description = "Image with gunicorn and the application, by digest."
  type        = string
}

variable "image_proxy" {
  description = "Image with nginx, by digest."
  type        = string
}

variable "image_sidecar" {
  description = "Image with Envoy, by digest."
  type        = string
}

variable "sidecar_workers" {
  description = "Worker threads of each Envoy."
  type        = number
  default     = 1

  validation {
    condition     = var.sidecar_workers >= 1 && var.sidecar_workers <= 64
    error_message = "The number of worker threads must be 1 to 64."
  }
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

# The rest of what the lab's var-file sets: Nomad refuses a var-file with a variable that is not declared.

variable "peer_address" {
  description = "Address of the application's node; the mesh finds it by itself."
  type        = string
  default     = ""
}

variable "image_database" {
  description = "Image with MariaDB; not used by this job."
  type        = string
  default     = ""
}

variable "image_query" {
  description = "Image with sysbench and MariaDB's clients; not used by this job."
  type        = string
  default     = ""
}

variable "image_stream" {
  description = "Image with the stream program; not used by this job."
  type        = string
  default     = ""
}

variable "image_bridge" {
  description = "Image with socat; not used by this job."
  type        = string
  default     = ""
}

variable "mesh_ca" {
  description = "PEM certificate of the lab's CA; Nomad gives Envoy its own agent's."
  type        = string
  default     = ""
}

variable "database_password" {
  description = "Password of the database's account; not used by this job."
  type        = string
  default     = ""
}

locals {
  # A group's tasks share /alloc. Nomad does not interpolate an upstream's path: it has to be literal.
  socket   = "/alloc/tmp/server.sock"
  upstream = "/alloc/tmp/upstream.sock"

  # The name local_app is what Consul's listener for the service sends to.
  local_cluster = jsonencode({
    "@type"         = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    name            = "local_app"
    type            = "STATIC"
    connect_timeout = "5s"
    load_assignment = {
      cluster_name = "local_app"
      endpoints = [{
        lb_endpoints = [{ endpoint = { address = { pipe = { path = local.socket } } } }]
      }]
    }
  })

  # A denied connection ends after 5 s; Envoy's default lets it live for ten minutes.
  envoy = ["-c", "$${NOMAD_SECRETS_DIR}/envoy_bootstrap.json", "--disable-hot-restart", "--concurrency", format("%d", var.sidecar_workers), "--drain-time-s", "5", "-l", "warn"]

  nginx = <<EOT
worker_processes 1;
daemon off;
pid /tmp/nginx.pid;
error_log stderr warn;
events {
}
http {
  access_log off;
  client_body_temp_path /tmp/client;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  upstream application {
    server unix:${local.upstream};
    keepalive 16;
  }
  server {
    listen 8080;
    location / {
      proxy_pass http://application;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
    }
  }
}
EOT
}

job "native-web" {
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

  # A group that fails is not placed again and again, each time with a registration of its own.
  reschedule {
    attempts  = 0
    unlimited = false
  }

  group "server" {
    constraint {
      attribute = "${node.unique.name}"
      value     = var.peer
    }

    restart {
      attempts = 0
      mode     = "fail"
    }

    # For Envoy, whose listener Nomad publishes; the application has no network.
    network {
      mode = "bridge"
    }

    service {
      name = "${var.id}-server"
      port = "1" # required, and nobody's: the local cluster has the socket

      connect {
        sidecar_service {
          # The check would connect to Envoy, and Envoy to the application, every ten seconds.
          disable_default_tcp_check = true

          proxy {
            config {
              envoy_local_cluster_json = local.local_cluster
            }
          }
        }

        sidecar_task {
          driver = "docker"

          config {
            image           = var.image_sidecar
            entrypoint      = ["/usr/local/bin/envoy"]
            args            = local.envoy
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

    task "app" {
      driver = "docker"

      config {
        image           = var.image_app
        args            = ["--config", "/srv/socklab/gunicorn.conf.py"]
        network_mode    = "none"
        readonly_rootfs = true
        cap_drop        = ["all"]
      }

      env {
        BIND           = "unix:${local.socket}"
        WORKERS        = "1"
        RESPONSE_BYTES = "0"
      }

      resources {
        cpu    = var.cpu
        memory = var.memory_mb
      }
    }
  }

  group "client" {
    constraint {
      attribute = "${node.unique.name}"
      value     = var.node
    }

    restart {
      attempts = 0
      mode     = "fail"
    }

    network {
      mode = "bridge"

      port "http" {
        to = 8080
      }
    }

    service {
      name = "${var.id}-client"
      port = "http"

      connect {
        sidecar_service {
          disable_default_tcp_check = true

          proxy {
            upstreams {
              destination_name       = "${var.id}-server"
              local_bind_socket_path = local.upstream
              local_bind_socket_mode = "0660"
            }
          }
        }

        sidecar_task {
          driver = "docker"

          config {
            image           = var.image_sidecar
            entrypoint      = ["/usr/local/bin/envoy"]
            args            = local.envoy
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

    task "proxy" {
      driver = "docker"

      config {
        image      = var.image_proxy
        entrypoint = ["/usr/sbin/nginx"]
        args       = ["-c", "/local/nginx.conf"]
        cap_drop   = ["all"]
      }

      template {
        data        = local.nginx
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
