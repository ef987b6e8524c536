# For the other checks here: `start_sandbox` makes the country of the sandbox in $work/sandbox, a temporary folder, waits
# until its road is open and takes over its environment. It ends with the script.

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
