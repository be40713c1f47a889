# The campaign engine runs, watches and stops jobs; it changes nothing else.
namespace "default" {
  policy       = "read"
  capabilities = ["submit-job", "dispatch-job", "read-logs", "read-fs", "alloc-lifecycle"]
}

node {
  policy = "read"
}

agent {
  policy = "read"
}
