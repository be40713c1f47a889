# nginx in front of an ASGI application; "path" says how the two talk.
#
#   nomad job run -var-file=.lab/socklab/images.hcl -var-file=jobs/web/sharedvolume.hcl jobs/web.nomad.hcl
#
# One file makes every topology, so that two arms differ only where "path" says so.

variable "id" {
  description = "Name of the job; the engine gives every deployment its own."
  type        = string
  default     = "web"
}

variable "type" {
  description = "What Nomad places: service (one allocation, on node) or system (one on every host, new hosts included)."
  type        = string
  default     = "service"

  validation {
    condition     = contains(["service", "system"], var.type)
    error_message = "The type must be service or system."
  }
}

variable "path" {
  description = "Way between proxy and application: tcp-loopback, sharedvolume (one network namespace), tcp-bridge, sharedvolume-bridge, tcp-published (two on the engine's bridge), combined and combined-bridge (one container, over a Unix socket), tcp-discovered (instances in a group of their own, which nomad job scale can make grow: nginx follows Nomad's services), proxy-alone (no application: nginx answers by itself, a null server for the load generators)."
  type        = string

  validation {
    condition     = contains(["tcp-loopback", "sharedvolume", "tcp-bridge", "sharedvolume-bridge", "tcp-published", "combined", "combined-bridge", "tcp-discovered", "proxy-alone"], var.path)
    error_message = "The path must be tcp-loopback, sharedvolume, tcp-bridge, sharedvolume-bridge, tcp-published, combined, combined-bridge, tcp-discovered or proxy-alone."
  }
}

variable "node" {
  description = "Name of the Nomad node; a deployment never moves to another one. Of no use to type system."
  type        = string
  default     = "lab-2"
}

variable "image_proxy" {
  description = "Image with nginx, by digest."
  type        = string
}

variable "image_app" {
  description = "Image with gunicorn and the application, by digest."
  type        = string
}

variable "image_combined" {
  description = "Image with both and a supervisor, by digest."
  type        = string
}

variable "keepalive" {
  description = "Whether nginx keeps connections to the application open."
  type        = bool
  default     = true
}

variable "tls" {
  description = "Whether nginx terminates TLS."
  type        = bool
  default     = false
}

variable "tls_certificate" {
  description = "PEM certificate of nginx, with tls."
  type        = string
  default     = ""
}

variable "tls_key" {
  description = "PEM key of nginx, with tls."
  type        = string
  default     = ""
}

variable "workers" {
  description = "Worker processes of each application instance."
  type        = number
  default     = 1

  validation {
    condition     = var.workers >= 1 && var.workers <= 64
    error_message = "The number of workers must be 1 to 64."
  }
}

variable "instances" {
  description = "Application instances behind the proxy; tcp-discovered begins with one."
  type        = number
  default     = 1

  validation {
    condition     = contains([1, 2, 4], var.instances)
    error_message = "The number of instances must be 1, 2 or 4."
  }
}

variable "instances_max" {
  description = "Application instances up to which tcp-discovered may grow; the engine asks for that many as the measured part of a run begins."
  type        = number
  default     = 1

  validation {
    condition     = var.instances_max >= 1 && var.instances_max <= 16
    error_message = "The largest number of instances must be 1 to 16."
  }
}

variable "work" {
  description = "What each request costs the application beside its answer: none, cpu (hashing), memory (copying more than its cache holds), files (reading one of 64 that it wrote, 1 MiB each, in turn)."
  type        = string
  default     = "none"

  validation {
    condition     = contains(["none", "cpu", "memory", "files"], var.work)
    error_message = "The work must be none, cpu, memory or files."
  }
}

variable "app_cpu_limit" {
  description = "CPU that an application instance gets at most, in the lab's unit: 100000 is one core; 0 is no limit. Of no use to combined, which has its own."
  type        = number
  default     = 0
}

variable "response_bytes" {
  description = "Least size of the answer's body in bytes; 0 leaves it as it is (about 90)."
  type        = number
  default     = 0
}

variable "backlog" {
  description = "Connections that may wait to be accepted by an application instance; the same over either transport."
  type        = number
  default     = 2048

  validation {
    condition     = var.backlog >= 1 && var.backlog <= 4096
    error_message = "The backlog must be 1 to 4096, which is what the lab's hosts allow (net.core.somaxconn)."
  }
}

variable "cpu" {
  description = "CPU share of a task, in the lab's unit: 100000 is one core."
  type        = number
  default     = 10
}

variable "host_cpus" {
  description = "CPUs of the node, separated by commas; combined is limited to two cores, or to nearly all where there are fewer."
  type        = string
  default     = "0"

  validation {
    condition     = regex_replace(var.host_cpus, "^[0-9]+(,[0-9]+)*$", "valid") == "valid"
    error_message = "The host_cpus must be whole numbers, separated by commas."
  }
}

variable "cpus" {
  description = "Which CPUs of the node the containers run on: any (the kernel chooses), same (all on the last one), apart (the proxy on the first, the application on the others; combined is one container, and stays whole)."
  type        = string
  default     = "any"

  validation {
    condition     = contains(["any", "same", "apart"], var.cpus)
    error_message = "The cpus must be any, same or apart."
  }
}

variable "memory_mb" {
  description = "Memory of a task in MB; combined gets twice as much."
  type        = number
  default     = 256
}

locals {
  pinned     = var.type == "service"
  combined   = contains(["combined", "combined-bridge"], var.path)
  discovered = var.path == "tcp-discovered"
  bridged    = contains(["tcp-bridge", "sharedvolume-bridge", "tcp-published", "combined-bridge"], var.path)
  unix       = local.combined || contains(["sharedvolume", "sharedvolume-bridge"], var.path)
  instances  = var.path == "proxy-alone" ? 0 : local.discovered ? 1 : var.instances
  apps       = [for number in range(local.instances) : "app-${number}"]

  # What can grow beside the proxy is a group of its own.
  groups = local.discovered ? ["web", "application"] : ["web"]
  tasks = {
    web         = { app = local.combined || local.discovered ? [] : local.apps, front = [local.combined ? "combined" : "proxy"] }
    application = { app = local.apps, front = [] }
  }

  # Each process of the other topologies is one thread, so it can use one core: twice that is two.
  # The margin leaves room for the deployments that are up at the same time.
  combined_cpu = length(local.cpus) > 2 ? 200000 : 100000 * length(local.cpus) - 500

  # By affinity: Nomad has cores to give away, but each to one task only, and every arm is up at once.
  cpus   = split(",", var.host_cpus)
  others = length(local.cpus) > 1 ? slice(local.cpus, 1, length(local.cpus)) : local.cpus
  last   = local.cpus[length(local.cpus) - 1]
  on = var.cpus == "any" ? {} : merge(
    { for number in range(length(local.apps)) : "app-${number}" => var.cpus == "same" ? local.last : element(local.others, number) },
    { proxy = var.cpus == "same" ? local.last : local.cpus[0] },
    var.cpus == "same" ? { combined = local.last } : {},
  )
  pin = { for name, cpu in local.on : name => ["/usr/bin/taskset", "-c", cpu] }
  front_program = (
    local.combined ? ["/usr/bin/supervisord"] :
    local.discovered ? ["/bin/sh", "-c", local.begin, "begin"] : ["/usr/sbin/nginx"]
  )

  # What each instance binds to, and where the proxy finds it. The socket is on the allocation's shared volume.
  binds = {
    for number in range(length(local.apps)) : "app-${number}" =>
    local.unix ? "unix:/alloc/tmp/app-${number}.sock" :
    local.bridged || local.discovered ? "0.0.0.0:${8000 + number}" :
    "127.0.0.1:${8000 + number}"
  }
  upstreams = [
    for number in range(length(local.apps)) :
    local.unix ? "unix:/alloc/tmp/app-${number}.sock" :
    var.path == "tcp-bridge" ? "app-${number}.{{ env \"NOMAD_ALLOC_ID\" }}:${8000 + number}" :
    var.path == "tcp-published" ? "{{ env \"NOMAD_HOST_ADDR_app_${number}\" }}" :
    "127.0.0.1:${8000 + number}"
  ]

  # Nomad runs no change_script before it holds the task, a second after nginx has read its file: a
  # first instance that comes then would never be heard of. So nginx begins with it.
  begin = "until grep -q 'server .*[0-9];' /local/nginx.conf; do sleep 0.1; done; exec /usr/sbin/nginx \"$@\""

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
%{if var.path != "proxy-alone"~}
  upstream application {
%{if local.discovered~}
{{- range nomadService "web-application" }}{{ if eq .JobID (env "NOMAD_JOB_ID") }}
    server {{ .Address }}:{{ .Port }};
{{- end }}{{ end }}
    server 127.0.0.1:9 down;
%{else~}
%{for upstream in local.upstreams~}
    server ${upstream};
%{endfor~}
%{endif~}
%{if var.keepalive~}
    keepalive 256;
    keepalive_requests 1000000000;
%{endif~}
  }
%{endif~}
  server {
    listen 8080${var.tls ? " ssl" : ""} backlog=4096;
%{if var.tls~}
    ssl_certificate /secrets/tls.pem;
    ssl_certificate_key /secrets/tls.key;
    ssl_protocols TLSv1.2 TLSv1.3;
%{endif~}
    location / {
%{if var.path == "proxy-alone"~}
      default_type application/json;
      return 200 '{"hello":"world","utcnow":"1970-01-01T00:00:00.000000+00:00","random":0.0000000000000000}';
%{else~}
      proxy_pass http://application;
      proxy_http_version 1.1;
      proxy_set_header Connection "${var.keepalive ? "" : "close"}";
      proxy_set_header Host $host;
%{endif~}
    }
  }
}
EOT

  supervisor = <<EOT
[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
pidfile=/tmp/supervisord.pid
%{for name in local.apps~}
[program:${name}]
command=/usr/bin/gunicorn --config /srv/socklab/gunicorn.conf.py --backlog ${var.backlog}
directory=/srv/socklab
environment=BIND="${local.binds[name]}",WORKERS="${var.workers}",RESPONSE_BYTES="${var.response_bytes}",WORK="${var.work}"
stdout_logfile=/dev/stdout
stdout_logfile_maxbytes=0
redirect_stderr=true
autorestart=false
%{endfor~}
[program:proxy]
command=/usr/sbin/nginx -c /local/nginx.conf
stdout_logfile=/dev/stdout
stdout_logfile_maxbytes=0
redirect_stderr=true
autorestart=false
EOT

  files = merge(
    { "local/nginx.conf" = local.nginx },
    local.combined ? { "local/supervisord.conf" = local.supervisor } : {},
    var.tls ? { "secrets/tls.pem" = var.tls_certificate, "secrets/tls.key" = var.tls_key } : {},
  )
}

job "web" {
  id          = var.id
  type        = var.type
  datacenters = ["dc1"]

  # A benchmark's allocation never silently moves or comes back as another one.
  dynamic "constraint" {
    for_each = local.pinned ? [var.node] : []

    content {
      attribute = "${node.unique.name}"
      value     = constraint.value
    }
  }

  update {
    max_parallel      = 1
    health_check      = "task_states"
    min_healthy_time  = "1s"
    healthy_deadline  = "60s"
    progress_deadline = "90s"
    auto_revert       = false
  }

  dynamic "group" {
    for_each = local.groups
    labels   = [group.value]

    content {
      count = 1

      restart {
        attempts = 0
        mode     = "fail"
      }

      # Nomad refuses both in a system job, which has no other host to go to.
      dynamic "reschedule" {
        for_each = local.pinned ? [0] : []

        content {
          attempts  = reschedule.value
          unlimited = false
        }
      }

      dynamic "disconnect" {
        for_each = local.pinned ? ["1h"] : []

        content {
          lost_after = disconnect.value
          replace    = false
        }
      }

      network {
        mode = local.bridged ? "host" : "bridge"

        dynamic "port" {
          for_each = group.value == "web" ? { http = 8080 } : { app = 8000 }
          labels   = [port.key]

          content {
            to = port.value
          }
        }

        dynamic "port" {
          for_each = var.path == "tcp-published" ? range(var.instances) : []
          labels   = ["app_${port.value}"]

          content {
            to = 8000 + port.value
          }
        }
      }

      # How far "nomad job scale" goes, and where nginx finds what it made.
      dynamic "scaling" {
        for_each = group.value == "application" ? [var.instances_max] : []

        content {
          min = 1
          max = scaling.value
        }
      }

      dynamic "service" {
        for_each = group.value == "application" ? ["web-application"] : []

        content {
          name     = service.value
          port     = "app"
          provider = "nomad"
        }
      }

      # The application is up before the proxy looks up its name.
      dynamic "task" {
        for_each = local.tasks[group.value].app
        labels   = [task.value]

        content {
          driver = "docker"

          dynamic "lifecycle" {
            for_each = group.value == "web" ? ["prestart"] : []

            content {
              hook    = lifecycle.value
              sidecar = true
            }
          }

          config {
            image              = var.image_app
            image_pull_timeout = "15m" # the engine's own 5 are few for an emulated host
            entrypoint         = concat(lookup(local.pin, task.value, []), ["/usr/bin/gunicorn"])
            args               = ["--config", "/srv/socklab/gunicorn.conf.py", "--backlog", "${var.backlog}"]
            network_mode       = local.bridged ? "socklab" : ""
            network_aliases    = local.bridged ? ["${task.value}.${NOMAD_ALLOC_ID}"] : []
            ports              = var.path == "tcp-published" ? [replace(task.value, "-", "_")] : []
            cpu_hard_limit     = var.app_cpu_limit > 0
            readonly_rootfs    = true
            cap_drop           = ["all"]
          }

          env {
            BIND           = local.binds[task.value]
            WORKERS        = "${var.workers}"
            RESPONSE_BYTES = "${var.response_bytes}"
            WORK           = var.work
          }

          resources {
            cpu    = max(var.cpu, var.app_cpu_limit)
            memory = var.memory_mb
          }
        }
      }

      dynamic "task" {
        for_each = local.tasks[group.value].front
        labels   = [task.value]

        content {
          driver = "docker"

          config {
            image              = local.combined ? var.image_combined : var.image_proxy
            image_pull_timeout = "15m" # the engine's own 5 are few for an emulated host
            entrypoint         = concat(lookup(local.pin, task.value, []), local.front_program)
            args               = local.combined ? ["-c", "/local/supervisord.conf"] : ["-c", "/local/nginx.conf"]
            network_mode       = local.bridged ? "socklab" : ""
            ports              = local.bridged ? ["http"] : []
            cpu_hard_limit     = local.combined
            readonly_rootfs    = false
            cap_drop           = ["all"]
          }

          dynamic "template" {
            for_each = local.files

            content {
              data        = template.value
              destination = template.key
              change_mode = local.discovered ? "script" : "noop"

              # No signal: one that comes before nginx runs would end the task.
              dynamic "change_script" {
                for_each = local.discovered ? ["/usr/sbin/nginx"] : []

                content {
                  command       = change_script.value
                  args          = ["-c", "/local/nginx.conf", "-s", "reload"]
                  fail_on_error = false
                }
              }

              # Nomad's own wait is five seconds, which would be most of the time to effect.
              dynamic "wait" {
                for_each = local.discovered ? ["100ms"] : []

                content {
                  min = wait.value
                  max = "1s"
                }
              }
            }
          }

          resources {
            cpu    = local.combined ? local.combined_cpu : var.cpu
            memory = local.combined ? 2 * var.memory_mb : var.memory_mb
          }
        }
      }
    }
  }
}
