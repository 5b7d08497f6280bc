#!/usr/bin/env bash
# Sets keyfold up once, then runs jobs: in a plain Python process, or with spark-submit where they need Spark. For bash 3.2, as on macOS.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
LINK="$ROOT/.venv" # a link to the folder of the environment; it changes once a new environment is complete

# Sets the paths of an environment. They name its folder, not the link, so a running job keeps its environment.
use() {
  VENV="$1"
  [ ! -d "$VENV" ] || VENV="$(cd "$VENV" && pwd -P)"
  PY="$VENV/bin/python"
  STAMP="$VENV/keyfold-stamp"         # written last; an environment without it is incomplete
  JARS="$VENV/delta-jars"             # one jar per line, as resolved by Spark
  ARCHIVE="$VENV/spark.jsa"           # the JVM's class-data archive: parsed and verified classes
  JAVA_OPTIONS="$VENV/java-options"   # for the JVM of each driver; keyfold.engine.session also reads it
}
use "$LINK"

HOROVOD=0.28.1

say() { echo "keyfold: $*" >&2; }
die() { say "$@"; exit 2; }

usage() {
  cat <<'TEXT'
usage: ./spark-submit.sh JOB [CONF] [--set path.to.option=value]... [--period P] [-- any spark-submit options]
       ./spark-submit.sh setup [EXTRA...]     sets up only; prints the environment's python
       ./spark-submit.sh --version

JOB is the path of a Python file, or one of:
TEXT
  local file
  for file in "$ROOT"/jobs/*.py; do
    printf '  %-10s %s\n' "$(basename "$file" .py)" "$(sed -n '/^"""/{s/^"""//;s/"""$//;p;q;}' "$file")"
  done
  echo "Options of a job: ./spark-submit.sh JOB --help. For more see README.md."
}

# --- requirements that the user must install ---

need_java() {
  local java="${JAVA_HOME:+$JAVA_HOME/bin/}java"
  JAVA_VERSION="$("$java" -version 2>&1)" || JAVA_VERSION=""
  case "$(sed -n 's/.* version "\([0-9]*\).*/\1/p' <<<"$JAVA_VERSION")" in 17 | 21) return ;; esac
  say "${KEYFOLD_REASON:+this needs Spark ($KEYFOLD_REASON): }Java 17 or 21 is needed to run Spark (\`$java -version\` printed: $(sed -n '/version/{p;q;}' <<<"${JAVA_VERSION:-nothing with a version}"))."
  die "Install it, or point JAVA_HOME to it, and run this again:
  Debian, Ubuntu   sudo apt-get install openjdk-17-jre-headless     (newer releases: openjdk-21-jre-headless)
  Fedora           sudo dnf install java-21-openjdk-headless
  macOS            brew install openjdk@21 && export JAVA_HOME=\"\$(brew --prefix openjdk@21)/libexec/openjdk.jdk/Contents/Home\""
}

python_version() { "$1" -I -S -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }

need_python() {
  local candidate tried="" candidates=(python3 python3.12 python3.11)
  [ -z "${KEYFOLD_PYTHON:-}" ] || candidates=("$KEYFOLD_PYTHON")
  for candidate in "${candidates[@]}"; do
    PYTHON="$candidate"
    PYTHON_VERSION="$(python_version "$candidate")"
    case "$PYTHON_VERSION" in 3.11 | 3.12) ! "$candidate" -c 'import venv, ensurepip' 2>/dev/null || return 0 ;; esac
    tried="$tried $candidate: ${PYTHON_VERSION:-not found};"
  done
  say "Python 3.11 or 3.12 with its venv module is needed (tried$tried)."
  die "Install it, or name an interpreter in KEYFOLD_PYTHON, and run this again:
  Debian, Ubuntu   sudo apt-get install python3.11 python3.11-venv     (newer releases: python3.12 python3.12-venv)
  Fedora           sudo dnf install python3.12
  macOS            brew install python@3.12
  anywhere         uv python install 3.12 && export KEYFOLD_PYTHON=\"\$(uv python find 3.12)\""
}

# Horovod is distributed as source only.
need_compiler() {
  local tool missing=""
  [ ! -f "$(horovod_wheel)" ] || return 0
  for tool in g++ cmake make; do command -v "$tool" >/dev/null || missing="$missing $tool"; done
  [ -z "$missing" ] || die "Horovod, which trains networks over several processes, is built from source, and these tools are missing:$missing.
Install them and run this again:
  Debian, Ubuntu   sudo apt-get install g++ cmake make
  Fedora           sudo dnf install gcc-c++ cmake make
  macOS            xcode-select --install; brew install cmake"
}

# --- set-up: the result of each step is reused until its inputs change ---

spark_home() { echo "$VENV"/lib/python3.*/site-packages/pyspark; }

# The inputs of an environment. The path is one, because scripts of an environment contain it.
made_from() {
  local version
  version="$(python_version "${KEYFOLD_PYTHON:-$PY}")"
  echo "$(cat "$ROOT/setup.py" "$ROOT/conf/constraints.txt" | cksum) python$version $ROOT"
}

extra_names() { sed -n '/extras_require/,$s/^        "\([a-z]*\)": .*/\1/p' "$ROOT/setup.py"; }

venv_current() { [ -f "$STAMP" ] && [ -x "$PY" ] && [ "$(sed -n 1p "$STAMP")" = "$(made_from)" ]; }

# Whether the environment has all required extras.
venv_ready() {
  venv_current || return 1
  local extra
  for extra in $EXTRAS; do
    case " $(sed -n 2p "$STAMP") " in *" $extra "*) ;; *) return 1 ;; esac
  done
}

has_uv() { uv --version >/dev/null 2>&1; }

# Installs packages, by uv if it is there. It does not read pip's settings, so if it fails, pip tries.
pip_install() {
  if has_uv; then
    ! uv pip install --python "$PY" "$@" 2>&1 || return 0
    echo "$RETRY"
    "$PY" -m ensurepip >/dev/null 2>&1 || true
  fi
  "$PY" -m pip install --no-compile --progress-bar off --disable-pip-version-check "$@" # the first run compiles what it imports
}
RETRY="uv could not install them; pip tries"

# The current environment stays in use until the new one is complete. Extras are added in place: only their own packages are installed, and
# all releases are pinned, so the packages of running jobs do not change.
make_venv() {
  local present="" packages
  [ ! -f "$STAMP" ] || present="$(sed -n 2p "$STAMP")"
  EXTRAS="$(printf '%s\n' $present $EXTRAS | sed 's/^local$/spark/' | sort -u | tr '\n' ' ')"
  EXTRAS="${EXTRAS% }"
  case " $EXTRAS " in *" horovod "*) need_compiler ;; esac
  if venv_current; then
    say "adding to $LINK: $EXTRAS"
    remove_half_installed
    packages="$(packages_of_extras)"
    # shellcheck disable=SC2086
    install $packages
    stamp
  else
    make_new
  fi
}

make_new() {
  case " $EXTRAS " in
    *" horovod "* | *" torch "*) say "setting up $LINK once, with torch: about 5 minutes" ;;
    *" spark "*) say "setting up $LINK once, with Spark: about 2 minutes" ;;
    *) say "setting up $LINK once: about a minute" ;;
  esac
  local old
  for old in "$LINK"-*; do
    [ ! -d "$old" ] || [ "$old" -ef "$LINK" ] || rm -rf "$old" # environments before the current one, and those of interrupted set-ups
  done
  use "$LINK-$(date +%y%m%d-%H%M%S)-$$"
  say "a Python environment"
  if has_uv; then "$PYTHON" -m venv --without-pip "$VENV"; else "$PYTHON" -m venv "$VENV"; fi
  say "Python packages"
  install pip -e ".${EXTRAS:+[$(tr ' ' ',' <<<"$EXTRAS")]}"
  if [ -n "$SPARK" ]; then
    say "Delta's jars"
    make_jars
  fi
  stamp
  if [ -n "$SPARK" ]; then
    say "a class-data archive, so that jobs start faster"
    make_archive
  fi
  put_in_place
}

# Removes metadata without RECORD, which pip writes last: pip would treat such a package as installed.
remove_half_installed() {
  local about
  for about in "$VENV"/lib/python3.*/site-packages/*.dist-info; do
    [ ! -d "$about" ] || [ -f "$about/RECORD" ] || rm -rf "$about"
  done
}

packages_of_extras() {
  "$PY" -c 'import sys
from importlib.metadata import requires
from packaging.requirements import Requirement
for package in map(Requirement, requires("keyfold")):
    if package.marker and any(package.marker.evaluate({"extra": extra}) for extra in sys.argv[1:]):
        package.marker = None
        print(str(package).replace(" ", ""))' $EXTRAS
}

install() {
  local wheels=(--only-binary :all:)
  case " $EXTRAS " in *" spark "* | *" dev "*) wheels=() ;; esac # PySpark is distributed as source only
  (cd "$ROOT" && pip_install ${wheels[@]+"${wheels[@]}"} -c conf/constraints.txt "$@") | progress ||
    die "keyfold's dependencies could not be installed: see the lines above. Fix the cause and run this again."
  case " $EXTRAS " in *" horovod "*) make_horovod ;; esac
  make_driver_python
}

# Shortens the output of pip and uv to large downloads, the number of packages, and errors.
progress() {
  local line words failed=""
  while IFS= read -r line; do
    case "$line" in
      *Downloading*" MB)" | *Downloading*" GB)" | *Downloading*MiB\) | *Downloading*GiB\)) say "  downloads${line#*Downloading}" ;;
      "Installing collected packages:"*) words="${line//[^,]/}" && say "  installs $((${#words} + 1)) packages" ;;
      "Installed "*) say "  installs ${line#Installed }" ;;
      "$RETRY") failed="" && say "  $line" ;;
      ERROR* | error* | *×*) failed=yes ;;
    esac
    [ -z "$failed" ] || echo "$line" >&2
  done
}

stamp() { printf '%s\n' "$(made_from)" "$EXTRAS" >"$STAMP.new" && mv "$STAMP.new" "$STAMP"; }

# Points the link to the new environment. A folder in its place, from an earlier release, is renamed.
put_in_place() {
  ln -s "$(basename "$VENV")" "$VENV/link"
  "$PY" -c 'import os, sys
new, link = sys.argv[1:]
if os.path.isdir(link) and not os.path.islink(link):
    os.rename(link, f"{link}-before")
os.replace(new, link)' "$VENV/link" "$LINK"
}

# The path of the wheel in the cache, which has a folder for each version of torch and Python.
horovod_wheel() {
  local folder
  folder="${XDG_CACHE_HOME:-$HOME/.cache}/keyfold/torch-$(sed -n 's/^torch==//p' "$ROOT/conf/constraints.txt")-python$(python_version "${PYTHON:-$PY}")"
  echo "$folder/$(ls "$folder" 2>/dev/null | grep "^horovod-$HOROVOD-.*whl$" | head -n 1)"
}

make_horovod() {
  local wheel log tools
  wheel="$(horovod_wheel)"
  if [ ! -f "$wheel" ]; then
    say "building Horovod $HOROVOD for this version of torch, once: about 5 minutes"
    tools="$(mktemp -d)"
    # torch's headers need C++20, which Horovod's build files do not set. Horovod's sources need headers that newer versions of g++ no
    # longer include by themselves, and a policy that CMake 4 removed.
    printf '#!/bin/sh\nexec g++ "$@" -std=c++20 -include cstdint -include string\n' >"$tools/c++"
    chmod +x "$tools/c++"
    mkdir -p "$wheel"
    log="$tools/log"
    {
      "$PY" -m pip install --quiet --disable-pip-version-check --target "$tools/packages" 'setuptools<80' wheel &&
        PYTHONPATH="$tools/packages" CXX="$tools/c++" CMAKE_POLICY_VERSION_MINIMUM=3.5 HOROVOD_WITH_PYTORCH=1 HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_MPI=1 HOROVOD_WITHOUT_TENSORFLOW=1 \
          HOROVOD_WITHOUT_MXNET=1 "$PY" -m pip wheel --quiet --disable-pip-version-check --no-build-isolation --no-deps -w "$tools" "horovod==$HOROVOD"
    } >"$log" 2>&1 || { tail -n 20 "$log"; die "Horovod could not be built: see the lines above; the whole log is $log."; }
    # Moves under another name first, because a copy may be interrupted.
    local file
    for file in "$tools"/horovod-*.whl; do
      mv "$file" "$wheel/.$$" && mv "$wheel/.$$" "$wheel/$(basename "$file")"
    done
    rm -rf "$tools"
    wheel="$(horovod_wheel)"
  fi
  pip_install --quiet --no-deps "$wheel"
}

# spark-submit merges the driver's stderr into stdout; this Python separates them again, so that results stay apart from progress.
make_driver_python() {
  cat >"$VENV/bin/driver-python" <<TEXT
#!/bin/sh
if [ -w "\${KEYFOLD_STDERR:-}" ]; then exec "$PY" "\$@" 2>"\$KEYFOLD_STDERR"; fi
exec "$PY" "\$@"
TEXT
  chmod +x "$VENV/bin/driver-python"
}

jars_ready() {
  [ -s "$JARS" ] || return 1
  local jar
  while IFS= read -r jar; do [ -f "$jar" ] || return 1; done <"$JARS"
}

make_jars() {
  local log
  rm -f "$ARCHIVE.for"
  log="$("$PY" -c 'import sys; from keyfold.engine.session import write_delta_jars; write_delta_jars(sys.argv[1])' "$JARS" 2>&1)" || {
    echo "$log"
    die "Spark could not resolve Delta's jars: see the lines above. To use a mirror, set spark.jars.repositories or" \
      "spark.jars.ivySettings in \$SPARK_CONF_DIR/spark-defaults.conf; then run this again."
  }
}

archive_made_from() { { echo "$JAVA_VERSION" && sed -n 1p "$STAMP" && tr '\n' '\0' <"$JARS" | xargs -0 ls -ln; } | cksum; }

archive_ready() { [ -f "$JAVA_OPTIONS" ] && [ "$(cat "$ARCHIVE.for" 2>/dev/null)" = "$(archive_made_from)" ]; }

# Runs the doctor job to create the archive. If the JVM creates none, jobs run without it.
make_archive() {
  local logs="\"-Dlog4j2.configurationFile=$ROOT/conf/log4j2.properties\""
  rm -f "$ARCHIVE" "$ARCHIVE.for"
  echo "$logs" >"$JAVA_OPTIONS"
  if rehearse "\"-XX:ArchiveClassesAtExit=$ARCHIVE\" -Xlog:disable $logs" && [ -f "$ARCHIVE" ]; then
    echo "\"-XX:SharedArchiveFile=$ARCHIVE\" -Xlog:disable -Xlog:all=error:stderr $logs" >"$JAVA_OPTIONS"
  else
    rm -f "$ARCHIVE"
    say "this JVM created no class-data archive, so each start takes a few seconds longer (to try again: rm $LINK/spark.jsa.for)"
  fi
  archive_made_from >"$ARCHIVE.for"
}

# Without conf folders of the user: the JVM creates no archive if its class path has a folder with files.
rehearse() {
  local state code=0
  state="$(mktemp -d)"
  env -u SPARK_CONF_DIR -u HADOOP_CONF_DIR -u YARN_CONF_DIR SPARK_SUBMIT_OPTS="$1" KEYFOLD_HOME="$state" SPARK_LOCAL_IP=127.0.0.1 \
    SPARK_HOME="$(spark_home)" PYSPARK_PYTHON="$PY" PYSPARK_DRIVER_PYTHON="$PY" "$(spark_home)/bin/spark-submit" \
    --properties-file "$ROOT/conf/spark-defaults.conf" --jars "$(paste -sd, "$JARS")" "$ROOT/jobs/doctor.py" >"$state/log" 2>&1 || code=$?
  rm -rf "$state"
  return $code
}

ready() { venv_ready && { [ -z "$SPARK" ] || { jars_ready && archive_ready; }; }; }

# Prints nothing on stdout. The lock belongs to descriptor 9, so the kernel releases it whenever this process ends.
set_up() {
  local extra
  for extra in "$@"; do
    extra_names | grep -qxF "$extra" || die "there is no extra \`$extra\`$(extra_names | nearest "$extra"); there are: $(extra_names | paste -sd' ' -)"
  done
  want "$@"
  [ -z "$SPARK" ] || need_java
  ! ready || return 0
  need_python
  exec 9>"$ROOT/.venv.lock"
  "$PYTHON" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
  if ! ready; then
    venv_ready || make_venv
    [ -z "$SPARK" ] || jars_ready || make_jars
    [ -z "$SPARK" ] || archive_ready || make_archive
  fi >&2
  exec 9>&-
}

# Sets EXTRAS, and SPARK if Spark is among them; developers have everything.
want() {
  EXTRAS="$(printf '%s\n' "$@" | sed 's/^local$/spark/;s/^dev$/dev spark/' | tr '\n' ' ')"
  EXTRAS="${EXTRAS% }"
  SPARK=""
  case " $EXTRAS " in *" spark "*) SPARK=yes ;; esac
}

# --- running spark-submit ---

# The user's value of an option: from its flag, else from --conf, else from the user's properties file.
option_value() {
  local flag="$1" key="$2" by_flag="" by_conf="" previous="" word
  for word in ${OPTIONS[@]+"${OPTIONS[@]}"}; do
    case "$previous" in --conf | -c) word="--conf=$word" ;; "$flag") by_flag="$word" ;; esac
    case "$word" in "$flag="*) by_flag="${word#*=}" ;; "--conf=$key="*) by_conf="${word#--conf="$key"=}" ;; esac
    previous="$word"
  done
  echo "${by_flag:-${by_conf:-$(in_user_file "$key")}}"
}

in_user_file() {
  [ ! -f "$USER_FILE" ] || sed -n "s/^[[:space:]]*$(sed 's/\./\\./g' <<<"$1")[[:space:]=:]\{1,\}//p" "$USER_FILE" | tail -n 1
}

find_user_file() {
  USER_FILE=""
  USER_FILE="$(option_value --properties-file -)"
  local default="${SPARK_CONF_DIR:-${SPARK_HOME:-}/conf}/spark-defaults.conf"
  [ -n "$USER_FILE" ] || [ ! -f "$default" ] || USER_FILE="$default"
}

# Uses the Spark of SPARK_HOME if it is of the same release as that of the environment.
choose_spark() {
  local own users="${SPARK_HOME:-}"
  own="$(spark_home)"
  SPARK_HOME="$own"
  [ -n "$users" ] && [ "$users" != "$own" ] || return 0
  if ls "$users"/jars/spark-core_2.13-4.1.* >/dev/null 2>&1; then
    SPARK_HOME="$users"
  else
    say "SPARK_HOME is $users, which is not Spark 4.1; using $own"
  fi
}

add_options() {
  local master jars packages
  master="$(option_value --master spark.master)"
  case "${master:-${MASTER:-local}}" in local*) export SPARK_LOCAL_IP="${SPARK_LOCAL_IP:-127.0.0.1}" ;; esac
  jars="$(option_value --jars spark.jars)"
  packages="$(option_value --packages spark.jars.packages),$jars"
  case "$packages" in *delta-spark_*) ;; *) OPTIONS+=(--jars "$(paste -sd, "$JARS")${jars:+,$jars}") ;; esac
  [ -n "$USER_FILE" ] || OPTIONS=(--properties-file "$ROOT/conf/spark-defaults.conf" ${OPTIONS[@]+"${OPTIONS[@]}"})
  [ ! -t 2 ] || OPTIONS=(--conf spark.ui.showConsoleProgress=true "${OPTIONS[@]}")
}

# In cluster mode the driver runs on another machine, where these paths do not exist.
set_environment() {
  export SPARK_HOME SPARK_SUBMIT_OPTS
  SPARK_SUBMIT_OPTS="$(cat "$JAVA_OPTIONS") \"-Dderby.system.home=$KEYFOLD_HOME\" ${SPARK_SUBMIT_OPTS:-}"
  [ "$(option_value --deploy-mode spark.submit.deployMode)" != cluster ] || return 0
  export PYSPARK_PYTHON="${PYSPARK_PYTHON:-$PY}" PYSPARK_DRIVER_PYTHON="${PYSPARK_DRIVER_PYTHON:-$VENV/bin/driver-python}"
}

# Sets the path by which the driver opens this stderr: the terminal, or a pipe that is copied to it.
share_stderr() {
  export KEYFOLD_STDERR
  if [ -t 2 ] && KEYFOLD_STDERR="$(tty <&2)"; then return; fi
  local folder
  folder="$(mktemp -d "${TMPDIR:-/tmp}/keyfold.XXXXXX")"
  KEYFOLD_STDERR="$folder/stderr"
  mkfifo "$KEYFOLD_STDERR"
  { cat "$KEYFOLD_STDERR" || true; rm -rf "$folder"; } >&2 &
  exec 2>"$KEYFOLD_STDERR"
}

run_job() {
  local job="$1"
  shift
  add_options
  set_environment
  share_stderr
  exec "$SPARK_HOME/bin/spark-submit" "${OPTIONS[@]}" "$job" "$@"
}

job_file() {
  case "$1" in
    *.py) [ -f "$1" ] || die "there is no job file $1"; echo "$1" ;;
    *) [ -f "$ROOT/jobs/$1.py" ] || die "there is no job \`$1\`$(job_names | nearest "$1"); the jobs are: $(job_names | paste -sd' ' -)"
      echo "$ROOT/jobs/$1.py" ;;
  esac
}

job_names() { (cd "$ROOT/jobs" && ls ./*.py | sed 's/^\.\///;s/\.py$//'); }

# The nearest of the names on stdin by edit distance, if at most a third of its letters differ.
nearest() {
  awk -v a="$1" '
    { n = length(a); m = length($0)
      for (j = 0; j <= m; j++) d[0, j] = j
      for (i = 1; i <= n; i++) { d[i, 0] = i
        for (j = 1; j <= m; j++) { x = d[i-1, j-1] + (substr(a, i, 1) != substr($0, j, 1))
          if (d[i-1, j] + 1 < x) x = d[i-1, j] + 1
          if (d[i, j-1] + 1 < x) x = d[i, j-1] + 1
          d[i, j] = x } }
      if (d[n, m] * 3 <= m && (best == "" || d[n, m] < least)) { best = $0; least = d[n, m] } }
    END { if (best != "") printf " (did you mean `%s`?)", best }'
}

# Checks that the confs exist, before a set-up that takes minutes.
need_confs() {
  local word
  for word in "$@"; do
    case "$word" in *=*) ;; *.yaml | *.yml) [ -f "$word" ] || die "there is no conf \`$word\`" ;; esac
  done
}

# Whether this process can know what the job needs: not if it is a file of the user's, nor in cluster mode, where the driver may have other files.
is_known() {
  case "$1" in "$ROOT"/jobs/*) ;; *) return 1 ;; esac
  find_user_file
  [ "$(option_value --deploy-mode spark.submit.deployMode)" != cluster ]
}

# Checks options, conf, period and files without a JVM; and Java, if the job needs Spark, whose reason is then printed.
check() {
  local code=0 said
  said="$("$PY" -P -m keyfold.cli.preflight --check "$@")" || code=$?
  [ $code -eq 99 ] || { [ -z "$said" ] || echo "$said"; exit $code; }
  [ -z "$said" ] || KEYFOLD_REASON="$said" need_java
}

# The extras that confs need.
extras_of() {
  local word
  for word in "$@"; do
    case "$word" in *.yaml | *.yml) ;; *) continue ;; esac
    [ -f "$word" ] || continue
    ! grep -Eq '^[^#]*(^|[ {])tune:' "$word" || echo tune
    ! grep -Eq '^[^#]*(^|[ {])smote:' "$word" || echo imbalance
    grep -Eq '^[^#]*(^|[ {])torch:' "$word" || continue
    if grep -Eq '^[^#]*(^|[ {])ranks: *([2-9]|1[0-9])' "$word"; then echo horovod; else echo torch; fi
  done
}

absolute_home() {
  export KEYFOLD_HOME="${KEYFOLD_HOME:-$ROOT/.keyfold}"
  case "$KEYFOLD_HOME" in /* | *://*) ;; *) KEYFOLD_HOME="$PWD/$KEYFOLD_HOME" ;; esac
}

main() {
  case "${1:-}" in
    "" | -h | --help | help) usage; exit 0 ;;
    -V | --version | version) echo "keyfold $(sed -n 's/^ *version="\(.*\)",/\1/p' "$ROOT/setup.py")"; exit 0 ;;
    setup) shift; set_up "$@"; echo "$LINK/bin/python"; exit 0 ;;
  esac
  local checked="" job arguments=() extras words
  [ "$1" != --checked ] || { checked=yes && shift; } # the job is known to need Spark
  job="$(job_file "$1")"
  shift
  while [ $# -gt 0 ] && [ "$1" != -- ]; do arguments+=("$1"); shift; done
  [ $# -eq 0 ] || shift
  OPTIONS=("$@")
  absolute_home
  extras="$(extras_of ${arguments[@]+"${arguments[@]}"})"
  if [ -z "$checked" ] && is_known "$job"; then
    words=("$ROOT/spark-submit.sh" "$job" ${arguments[@]+"${arguments[@]}"} -- ${OPTIONS[@]+"${OPTIONS[@]}"})
    if ! venv_current; then
      case " ${arguments[*]-} " in *" --help "* | *" -h "*) usage; exit 0 ;; esac
      need_confs ${arguments[@]+"${arguments[@]}"}
      set_up
    fi
    # shellcheck disable=SC2086
    want $extras
    venv_ready || check "${words[@]}" # before a set-up that takes minutes
    # shellcheck disable=SC2086
    set_up $extras
    exec "$PY" -P -m keyfold.cli.preflight "${words[@]}"
  fi
  # shellcheck disable=SC2086
  set_up spark $extras
  choose_spark
  find_user_file
  run_job "$job" ${arguments[@]+"${arguments[@]}"}
}

main "$@"
