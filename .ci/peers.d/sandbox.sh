# For the other checks here: `start_sandbox` makes the country of the sandbox in $work/sandbox, a temporary folder, waits
# until its road is open and takes over its environment. It ends with the script.

# What the command says is taken apart below.
export LC_ALL=C

start_sandbox() {
  work=$(mktemp -d)
  trap stop_sandbox EXIT
  # What it says is read line by line: the road is open when it says so, and not after some time.
  exec {said}< <(exec "$PEABIRU" sandbox up --folder "$work/sandbox" 2>"$work/sandbox.err")
  sandbox=$!
  export SANDBOX_PROCESS=$sandbox
  local line=""
  until [[ $line == *"The road is open"* ]]; do
    if ! read -r -t 120 -u "$said" line; then
      echo "the sandbox did not open its road" >&2
      cat "$work/sandbox.err" >&2
      return 1
    fi
  done
  . "$work/sandbox/env.sh"
}

stop_sandbox() {
  # As Ctrl-C: it stops its nodes and its registry, and then itself.
  kill -INT "$sandbox" 2>/dev/null && wait "$sandbox" 2>/dev/null || true
  rm -rf "$work"
}

# `propose member add …`: the registration officer proposes, the security officer approves. Prints the version of the global
# configuration that has it.
propose() {
  local number
  number=$("$PEABIRU" "$@" | sed -n 's/^proposed, number \([0-9]*\):.*/\1/p')
  "$PEABIRU" approval approve "$number" --operator "$work/sandbox/PY/operators/security-officer" | sed -n 's/.*configuration \([0-9]*\)).*/\1/p'
}

# An address that is free for a node's link.
free_address() {
  echo "127.0.0.1:$(python3 -c 'import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
}

# `add_node PY/GOV/MSP/node1 FOLDER [ADDRESS]`: makes a node of a member and registers it, on a free address of this machine if
# none is given. Prints the version of the global configuration that has it.
add_node() {
  local id=$1 folder=$2 member=${1%/*} link
  link=${3:-$(free_address)}
  {
    "$PEABIRU" node init "$folder" --instance-folder "$work/sandbox/PY" --id "$id" --member "$member" --listen "$link"
    propose node add "$id" --certificate "$folder/keys/authentication.crt" --address "$link"
  } >/dev/null
  propose ledger register --member "$member" --node "$id" --certificate "$folder/keys/sealing.crt" \
    --origin "$("$PEABIRU" certificate show "$folder/keys/sealing.crt" | sed -n 's/^ledger *//p')"
}

# `await_version 12 --admin-socket FILE`: until that node, or MITIC's, has heard of this version.
await_version() {
  local version=$1
  shift
  for _ in {1..300}; do
    [ "$("$PEABIRU" globalconf show "$@" | sed -n 's/^version *//p')" -lt "$version" ] || return 0
    sleep 0.1
  done
  echo "a node did not hear of version $version" >&2
  return 1
}
