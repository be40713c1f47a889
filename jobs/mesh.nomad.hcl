# Two ends on two hosts, or on one; "path" says how they talk, "workload" what they are.
#
#   nomad job run -var-file=.lab/socklab/mesh.hcl -var-file=jobs/mesh/web-unix.hcl jobs/mesh.nomad.hcl
#
# One file makes every topology, so that two arms differ only where "path" says so. An end whose hop
# is a Unix socket has no network at all; one whose hop is TCP is in its host's network, without NAT.

variable "id" {
  description = "Name of the job; its services are ID-client and ID-server. The engine gives every deployment its own."
  type        = string
  default     = "mesh"
}

variable "workload" {
  description = "What the ends are: web (nginx and its application), database (sysbench and MariaDB) or stream (the stream program)."
  type        = string

  validation {
    condition     = contains(["web", "database", "stream"], var.workload)
    error_message = "The workload must be web, database or stream."
  }
}

variable "path" {
  description = "Way between the ends. Between hosts: tcp, tcp-tls (database), socat, or a mesh with its ends over loopback TCP (mesh-tcp), Unix sockets (mesh-unix), or one of each (mesh-unix-client, mesh-unix-server). On one host: unix, mesh-local."
  type        = string

  validation {
    condition     = contains(["tcp", "tcp-tls", "socat", "mesh-tcp", "mesh-unix", "mesh-unix-client", "mesh-unix-server", "unix", "mesh-local"], var.path)
    error_message = "The path must be tcp, tcp-tls, socat, mesh-tcp, mesh-unix, mesh-unix-client, mesh-unix-server, unix or mesh-local."
  }
}

variable "node" {
  description = "Name of the Nomad node of the client end; a deployment never moves to another one."
  type        = string
  default     = "lab-2"
}

variable "peer" {
  description = "Name of the Nomad node of the server end."
  type        = string
  default     = "lab-3"
}

variable "peer_address" {
  description = "Address of that node, for the paths without a mesh."
  type        = string
  default     = "198.18.0.13"
}

variable "port" {
  description = "First of the two ports that this job may use on its hosts; outside of Nomad's dynamic range."
  type        = number
  default     = 12000

  validation {
    condition     = var.port >= 1024 && var.port <= 19990 && floor(var.port) == var.port
    error_message = "The port must be a whole number, 1024 to 19990."
  }
}

variable "socket_path" {
  description = "Path of the socket at which the client's mesh task or socat listens; a group's tasks share /alloc."
  type        = string
  default     = "/alloc/tmp/upstream.sock"

  validation {
    condition     = strlen(var.socket_path) <= 107 && substr(var.socket_path, 0, 1) == "/"
    error_message = "The socket_path must be absolute and have at most 107 bytes, the limit of a Unix socket's address."
  }
}

variable "destination" {
  description = "Service that the client's mesh task calls; empty for this job's own server."
  type        = string
  default     = ""
}

variable "image_app" {
  description = "Image with gunicorn and the application, by digest."
  type        = string
}

variable "image_proxy" {
  description = "Image with nginx, by digest."
  type        = string
}

variable "image_database" {
  description = "Image with MariaDB and a filled table, by digest."
  type        = string
}

variable "image_query" {
  description = "Image with sysbench and MariaDB's clients, by digest."
  type        = string
}

variable "image_stream" {
  description = "Image with the stream program, by digest."
  type        = string
}

variable "image_sidecar" {
  description = "Image with Envoy, Consul's client and the mesh task, by digest."
  type        = string
}

variable "image_bridge" {
  description = "Image with socat, by digest."
  type        = string
}

variable "mesh_ca" {
  description = "PEM certificate of the lab's CA: what the mesh task verifies Consul by, and with tcp-tls the ends each other."
  type        = string
}

variable "database_password" {
  description = "Password of the database's account bench."
  type        = string
}

variable "tls_certificate" {
  description = "PEM certificate of both ends, signed by mesh_ca, with tcp-tls."
  type        = string
  default     = ""
}

variable "tls_key" {
  description = "PEM key of both ends, with tcp-tls."
  type        = string
  default     = ""
}

variable "sidecar_workers" {
  description = "Worker threads of each Envoy."
  type        = number
  default     = 1

  validation {
    condition     = var.sidecar_workers >= 1 && var.sidecar_workers <= 64 && floor(var.sidecar_workers) == var.sidecar_workers
    error_message = "The number of worker threads must be a whole number, 1 to 64."
  }
}

variable "keepalive" {
  description = "Whether nginx keeps connections to the application open (web)."
  type        = bool
  default     = true
}

variable "query" {
  description = "Test of sysbench (database): oltp_point_select or oltp_read_only."
  type        = string
  default     = "oltp_point_select"

  validation {
    condition     = contains(["oltp_point_select", "oltp_read_only"], var.query)
    error_message = "The query must be oltp_point_select or oltp_read_only."
  }
}

variable "message_bytes" {
  description = "Bytes of a message (stream)."
  type        = number
  default     = 32768

  validation {
    condition     = var.message_bytes >= 16 && var.message_bytes <= 16777216 && floor(var.message_bytes) == var.message_bytes
    error_message = "The bytes of a message must be a whole number, 16 to 16777216."
  }
}

variable "direction" {
  description = "Which way the messages go, seen from the client: to, from or both (stream)."
  type        = string
  default     = "to"

  validation {
    condition     = contains(["to", "from", "both"], var.direction)
    error_message = "The direction must be to, from or both."
  }
}

variable "cpu" {
  description = "CPU share of a task, in the lab's unit: 100000 is one core."
  type        = number
  default     = 10
}

variable "memory_mb" {
  description = "Memory of a task in MB; a database gets twice as much."
  type        = number
  default     = 256
}

locals {
  # A variable's validation sees that variable alone (Nomad 1.11). Of the functions, parseint is the
  # one whose refusal says the text that it was given.
  refused = [
    for reason, wrong in {
      "The path tcp-tls is for the workload database."           = var.path == "tcp-tls" && var.workload != "database"
      "The path tcp-tls needs both tls_certificate and tls_key." = var.path == "tcp-tls" && (var.tls_certificate == "" || var.tls_key == "")
    } : parseint(reason, 10) if wrong
  ]

  one_host    = contains(["unix", "mesh-local"], var.path)
  meshed      = contains(["mesh-tcp", "mesh-unix", "mesh-unix-client", "mesh-unix-server", "mesh-local"], var.path)
  client_unix = contains(["socat", "mesh-unix", "mesh-unix-client", "mesh-local", "unix"], var.path)
  server_unix = contains(["socat", "mesh-unix", "mesh-unix-server", "mesh-local", "unix"], var.path)
  ends        = var.path == "unix" ? ["client"] : ["client", "server"]
  nodes       = { client = var.node, server = local.one_host ? var.node : var.peer }

  # Where the server listens, and what the client calls. A group's tasks share /alloc.
  socket        = "/alloc/tmp/server.sock"
  upstream      = var.path == "unix" ? local.socket : var.socket_path
  server_host   = local.meshed ? "127.0.0.1" : var.peer_address
  upstream_host = local.meshed ? "127.0.0.1" : var.peer_address
  upstream_port = local.meshed ? var.port + 1 : var.port

  server_task = { web = "app", database = "database", stream = "serve" }[var.workload]
  client_task = { web = "proxy", database = "load", stream = "load" }[var.workload]

  server = {
    web = {
      image = var.image_app
      args  = ["--config", "/srv/socklab/gunicorn.conf.py"]
      env = {
        BIND           = local.server_unix ? "unix:${local.socket}" : "${local.server_host}:${var.port}"
        WORKERS        = "1"
        RESPONSE_BYTES = "0"
      }
      files = {}
    }
    database = {
      image = var.image_database
      args = concat(
        ["--no-defaults", "--user=socklab", "--datadir=/var/lib/mysql", "--init-file=/secrets/account.sql", "--innodb-log-file-size=16M", "--skip-log-bin", "--max-connections=300", "--skip-name-resolve"],
        local.server_unix ? ["--skip-networking", "--socket=${local.socket}"] : ["--socket=/tmp/unused.sock", "--bind-address=${local.server_host}", "--port=${var.port}"],
        var.path == "tcp-tls" ? ["--ssl-ca=/secrets/ca.pem", "--ssl-cert=/secrets/tls.pem", "--ssl-key=/secrets/tls.key", "--require-secure-transport=ON"] : [],
      )
      env = {}
      files = merge(
        { "secrets/account.sql" = "ALTER USER bench@'%' IDENTIFIED BY '${var.database_password}' ACCOUNT UNLOCK;" },
        var.path == "tcp-tls" ? { "secrets/ca.pem" = var.mesh_ca, "secrets/tls.pem" = var.tls_certificate, "secrets/tls.key" = var.tls_key } : {},
      )
    }
    stream = {
      image = var.image_stream
      args  = ["serve", local.server_unix ? "unix:${local.socket}" : "tcp:${local.server_host}:${var.port}"]
      env   = {}
      files = {}
    }
  }[var.workload]

  nginx = <<EOT
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
  upstream application {
    server ${local.client_unix ? "unix:${local.upstream}" : "${local.upstream_host}:${local.upstream_port}"};
%{if var.keepalive~}
    keepalive 256;
    keepalive_requests 1000000000;
%{endif~}
  }
  server {
    listen {{ env "NOMAD_ADDR_http" }} backlog=4096;
    location / {
      proxy_pass http://application;
      proxy_http_version 1.1;
      proxy_set_header Connection "${var.keepalive ? "" : "close"}";
      proxy_set_header Host $host;
    }
  }
}
EOT

  database_address = local.client_unix ? "--mysql-socket=${local.upstream}" : "--mysql-host=${local.upstream_host} --mysql-port=${local.upstream_port}${var.path == "tcp-tls" ? " --mysql-ssl=on" : ""}"
  client_address   = local.client_unix ? "--socket=${local.upstream}" : "--host=${local.upstream_host} --port=${local.upstream_port}${var.path == "tcp-tls" ? " --ssl --ssl-ca=/secrets/cacert.pem --ssl-verify-server-cert" : ""}"
  stream_address   = local.client_unix ? "unix:${local.upstream}" : "tcp:${local.upstream_host}:${local.upstream_port}"

  # The load tool is started in the client's container, when its turn comes.
  waiting = ["/usr/bin/sleep", "infinity"]

  client = {
    web = {
      image = var.image_proxy
      run   = ["/usr/sbin/nginx", "-c", "/local/nginx.conf"]
      files = { "local/nginx.conf" = local.nginx }
    }
    database = {
      image = var.image_query
      run   = local.waiting
      # An argument can be read by everybody on the host, so the password is in a file. With TLS,
      # sysbench 1.0 takes these three names in its working directory, and no others.
      files = merge(
        {
          "local/load"           = "#!/bin/sh\ncd /secrets || exit 1\nexec sysbench ${var.query} --config-file=/secrets/sysbench.cnf --table-size=10000 --db-ps-mode=disable ${local.database_address} --histogram=on --percentile=99 \"$@\" run\n"
          "local/ready"          = "#!/bin/sh\nexec mariadb --defaults-extra-file=/secrets/client.cnf ${local.client_address} --batch --execute='SELECT id FROM sbtest.sbtest1 WHERE id = 1'\n"
          "secrets/sysbench.cnf" = "mysql-user=bench\nmysql-password=${var.database_password}\n"
          "secrets/client.cnf"   = "[client]\nuser=bench\npassword=${var.database_password}\nconnect-timeout=2\n"
        },
        var.path == "tcp-tls" ? { "secrets/cacert.pem" = var.mesh_ca, "secrets/client-cert.pem" = var.tls_certificate, "secrets/client-key.pem" = var.tls_key } : {},
      )
    }
    stream = {
      image = var.image_stream
      run   = local.waiting
      files = {
        "local/load"  = "#!/bin/sh\nexec stream send ${local.stream_address} --message-bytes ${var.message_bytes} --direction ${var.direction} \"$@\"\n"
        "local/ready" = "#!/bin/sh\nexec stream ping ${local.stream_address}\n"
      }
    }
  }[var.workload]

  # What Consul is told of each end (docs/mesh.md). The checks are the mesh task's own. Numbers stand
  # alone in their objects: beside text, a conditional would make text of them.
  definitions = {
    for end in local.ends : end => jsonencode({
      service = merge(
        {
          id   = "{{ env `NOMAD_JOB_ID` }}-${end}-{{ env `NOMAD_ALLOC_ID` }}"
          name = "{{ env `NOMAD_JOB_ID` }}-${end}"
          checks = [{
            id                                = "{{ env `NOMAD_JOB_ID` }}-${end}-{{ env `NOMAD_ALLOC_ID` }}-socket"
            name                              = "the socket is there"
            ttl                               = "30s"
            deregister_critical_service_after = "1m"
          }]
          connect = {
            sidecar_service = {
              address = "{{ env `NOMAD_IP_mesh` }}"
              port    = "MESH_PORT"
              checks = [
                {
                  id                                = "{{ env `NOMAD_JOB_ID` }}-${end}-{{ env `NOMAD_ALLOC_ID` }}-envoy"
                  name                              = "Envoy is ready"
                  ttl                               = "30s"
                  deregister_critical_service_after = "1m"
                },
                {
                  name          = "the service"
                  alias_service = "{{ env `NOMAD_JOB_ID` }}-${end}-{{ env `NOMAD_ALLOC_ID` }}"
                },
              ]
              proxy = merge(
                { config = { bind_address = "{{ env `NOMAD_IP_mesh` }}" } },
                end == "server" && local.server_unix ? { local_service_socket_path = local.socket } : {},
                end == "server" && !local.server_unix ? { local_service_address = local.server_host } : {},
                end == "server" && !local.server_unix ? { local_service_port = var.port } : {},
                end == "client" ? {
                  upstreams = [merge(
                    { destination_name = var.destination == "" ? "{{ env `NOMAD_JOB_ID` }}-server" : var.destination },
                    local.client_unix ? { local_bind_socket_path = local.upstream, local_bind_socket_mode = "0660" } : {},
                    local.client_unix ? {} : { local_bind_address = local.upstream_host },
                    local.client_unix ? {} : { local_bind_port = local.upstream_port },
                  )]
                } : {},
              )
            }
          }
        },
        end == "server" && local.server_unix ? { socket_path = local.socket } : {},
        end == "server" && !local.server_unix ? { port = var.port } : {},
      )
    })
  }

  # socat's own ends: a Unix socket for the client, TCP between the hosts, a Unix socket of the server.
  bridges = {
    client = ["UNIX-LISTEN:${local.upstream},fork,unlink-early,mode=0660,backlog=4096", "TCP:${var.peer_address}:${var.port},nodelay"]
    server = ["TCP-LISTEN:${var.port},bind=${var.peer_address},fork,reuseaddr,nodelay,backlog=4096", "UNIX-CONNECT:${local.socket}"]
  }
}

job "mesh" {
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
    for_each = local.ends
    labels   = [group.value]

    content {
      count = 1

      # A benchmark's allocation never silently moves or comes back as another one.
      constraint {
        attribute = "${node.unique.name}"
        value     = local.nodes[group.value]
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
        mode = "host"

        dynamic "port" {
          for_each = group.value == "client" && var.workload == "web" ? ["http"] : []
          labels   = [port.value]
          content {}
        }

        dynamic "port" {
          for_each = local.meshed ? ["mesh"] : []
          labels   = [port.value]
          content {}
        }

        dynamic "port" {
          for_each = group.value == "server" && !local.meshed ? ["server"] : []
          labels   = [port.value]

          content {
            static = var.port
          }
        }
      }

      dynamic "task" {
        for_each = local.meshed ? ["sidecar-${group.value}"] : []
        labels   = [task.value]

        content {
          driver       = "docker"
          kill_timeout = "10s"

          lifecycle {
            hook    = "prestart"
            sidecar = true
          }

          consul {}

          config {
            image              = var.image_sidecar
            image_pull_timeout = "15m" # the engine's own 5 are few for an emulated host
            args               = ["/local/service.json"]
            network_mode       = "host"
            readonly_rootfs    = true
            cap_drop           = ["all"]
          }

          env {
            CONSUL_HTTP_ADDR = "https://127.0.0.1:8501"
            CONSUL_GRPC_ADDR = "https://127.0.0.1:8503"
            CONSUL_CACERT    = "/local/ca.pem"
            SECRETS          = "/secrets"
            FACTS            = "/alloc/data/${task.value}.json"
            WORKERS          = "${var.sidecar_workers}"
          }

          template {
            data        = replace(local.definitions[group.value], "\"MESH_PORT\"", "{{ env \"NOMAD_PORT_mesh\" }}")
            destination = "local/service.json"
            change_mode = "noop"
          }

          template {
            data        = var.mesh_ca
            destination = "local/ca.pem"
            change_mode = "noop"
          }

          resources {
            cpu    = var.cpu
            memory = var.memory_mb
          }
        }
      }

      dynamic "task" {
        for_each = var.path == "socat" ? ["bridge-${group.value}"] : []
        labels   = [task.value]

        content {
          driver = "docker"

          lifecycle {
            hook    = "prestart"
            sidecar = true
          }

          config {
            image              = var.image_bridge
            image_pull_timeout = "15m" # the engine's own 5 are few for an emulated host
            args               = local.bridges[group.value]
            network_mode       = "host"
            readonly_rootfs    = true
            cap_drop           = ["all"]
          }

          resources {
            cpu    = var.cpu
            memory = var.memory_mb
          }
        }
      }

      # On one host without a mesh, the server is beside the client.
      dynamic "task" {
        for_each = group.value == "server" || var.path == "unix" ? [local.server_task] : []
        labels   = [task.value]

        content {
          driver = "docker"

          config {
            image              = local.server.image
            image_pull_timeout = "15m" # the engine's own 5 are few for an emulated host
            args               = local.server.args
            network_mode       = local.server_unix ? "none" : "host"
            readonly_rootfs    = var.workload != "database"
            cap_drop           = ["all"]
          }

          env = local.server.env

          dynamic "template" {
            for_each = local.server.files

            content {
              data        = template.value
              destination = template.key
              change_mode = "noop"
            }
          }

          resources {
            cpu    = var.cpu
            memory = var.workload == "database" ? 2 * var.memory_mb : var.memory_mb
          }
        }
      }

      dynamic "task" {
        for_each = group.value == "client" ? [local.client_task] : []
        labels   = [task.value]

        content {
          driver = "docker"
          # Nothing is lost with a client that only waits, and the first process of a container
          # that handles no signal would wait for the end of the kill timeout.
          kill_signal = var.workload == "web" ? "SIGTERM" : "SIGKILL"

          config {
            image              = local.client.image
            image_pull_timeout = "15m" # the engine's own 5 are few for an emulated host
            entrypoint         = slice(local.client.run, 0, 1)
            args               = slice(local.client.run, 1, length(local.client.run))
            network_mode       = var.workload == "web" || !local.client_unix ? "host" : "none"
            readonly_rootfs    = var.workload != "web"
            cap_drop           = ["all"]
          }

          dynamic "template" {
            for_each = local.client.files

            content {
              data        = template.value
              destination = template.key
              change_mode = "noop"
              perms       = substr(template.key, 0, 6) == "local/" ? "0755" : "0644"
            }
          }

          resources {
            cpu    = var.cpu
            memory = var.memory_mb
          }
        }
      }
    }
  }
}
