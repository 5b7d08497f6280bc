#!/usr/bin/env bash
# Sets keyfold up once, then hands a job over to the real spark-submit. Keeps to bash 3.2, which macOS has.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
LINK="$ROOT/.venv" # to the environment, a folder beside it; a new one is made aside, and the link changed once it is complete

# The files of an environment, whose own folder a running job keeps whatever the link comes to mean.
use() {
  VENV="$1"
  [ ! -d "$VENV" ] || VENV="$(cd "$VENV" && pwd -P)"
  PY="$VENV/bin/python"
  STAMP="$VENV/keyfold-stamp"         # written last: an environment without it is not complete
  JARS="$VENV/delta-jars"             # one jar a line, as Spark's own resolver found them
  ARCHIVE="$VENV/spark.jsa"           # the JVM's class-data archive: classes already parsed and verified
  JAVA_OPTIONS="$VENV/java-options"   # for each driver's JVM; keyfold.engine.session reads it too
}
use "$LINK"

HOROVOD=0.28.1                        # which is built here

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
  echo "A job's own options: ./spark-submit.sh JOB --help. README.md tells the rest."
}

# --- what cannot be installed for the user is checked first ---

need_java() {
  local java="${JAVA_HOME:+$JAVA_HOME/bin/}java"
  JAVA_VERSION="$("$java" -version 2>&1)" || JAVA_VERSION=""
  case "$(sed -n 's/.* version "\([0-9]*\).*/\1/p' <<<"$JAVA_VERSION")" in 17 | 21) return ;; esac
  say "Java 17 or 21 is needed to run Spark (\`$java -version\` said: $(sed -n '/version/{p;q;}' <<<"${JAVA_VERSION:-nothing with a version}"))."
  die "Install it, or point JAVA_HOME to it, and run this again:
  Debian, Ubuntu   sudo apt-get install openjdk-17-jre-headless     (newer releases: openjdk-21-jre-headless)
  Fedora           sudo dnf install java-21-openjdk-headless
  macOS            brew install openjdk@21 && export JAVA_HOME=\"\$(brew --prefix openjdk@21)/libexec/openjdk.jdk/Contents/Home\""
}

python_version() { "$1" -c 'import sys, venv, ensurepip; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }

need_python() {
  local candidate said="" candidates=(python3 python3.12 python3.11)
  [ -z "${KEYFOLD_PYTHON:-}" ] || candidates=("$KEYFOLD_PYTHON")
  for candidate in "${candidates[@]}"; do
    PYTHON="$candidate"
    PYTHON_VERSION="$(python_version "$candidate")"
    case "$PYTHON_VERSION" in 3.11 | 3.12) return ;; esac
    said="$said $candidate: ${PYTHON_VERSION:-not there, or without venv};"
  done
  say "Python 3.11 or 3.12 with its venv module is needed (looked at$said)."
  die "Install it, or name an interpreter in KEYFOLD_PYTHON, and run this again:
  Debian, Ubuntu   sudo apt-get install python3.11 python3.11-venv     (newer releases: python3.12 python3.12-venv)
  Fedora           sudo dnf install python3.12
  macOS            brew install python@3.12
  anywhere         uv python install 3.12 && export KEYFOLD_PYTHON=\"\$(uv python find 3.12)\""
}

# Horovod comes as source only.
need_compiler() {
  local tool missing=""
  [ ! -f "$(horovod_wheel)" ] || return 0
  for tool in g++ cmake make; do command -v "$tool" >/dev/null || missing="$missing $tool"; done
  [ -z "$missing" ] || die "Horovod, which trains networks over several processes, is built from its source, and these are not there:$missing.
Install them and run this again:
  Debian, Ubuntu   sudo apt-get install g++ cmake make
  Fedora           sudo dnf install gcc-c++ cmake make
  macOS            xcode-select --install; brew install cmake"
}

# --- set-up: steps that are each re-used while what they were made from has not changed ---

spark_home() { echo "$VENV"/lib/python3.*/site-packages/pyspark; }

# What an environment is made from; a moved project needs a new one, because its scripts hold the path.
made_from() {
  local version
  version="$(python_version "${KEYFOLD_PYTHON:-$PY}")"
  echo "$(cat "$ROOT/setup.py" "$ROOT/conf/constraints.txt" | cksum) python$version $ROOT"
}

extras_there() { sed -n '/extras_require/,$s/^        "\([a-z]*\)": .*/\1/p' "$ROOT/setup.py"; }

venv_current() { [ -f "$STAMP" ] && [ -x "$PY" ] && [ "$(sed -n 1p "$STAMP")" = "$(made_from)" ]; }

# With all of the extras that are asked for.
venv_ready() {
  venv_current || return 1
  local extra
  for extra in $EXTRAS; do
    case " $(sed -n 2p "$STAMP") " in *" $extra "*) ;; *) return 1 ;; esac
  done
}

# What is there stays in use until the new environment is complete. An extra is added in place, by its own packages alone: since every
# release is pinned, what other jobs use does not change.
make_venv() {
  local had="" packages
  [ ! -f "$STAMP" ] || had="$(sed -n 2p "$STAMP")"
  EXTRAS="$(printf '%s\n' $had $EXTRAS | sort -u | tr '\n' ' ')"
  EXTRAS="${EXTRAS% }"
  case " $EXTRAS " in *" horovod "*) need_compiler ;; esac
  if venv_current; then
    say "adding to $LINK: $EXTRAS"
    forget_half_installed
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
    *) say "setting up $LINK once: about 2 minutes" ;;
  esac
  local old
  for old in "$LINK"-*; do
    [ ! -d "$old" ] || [ "$old" -ef "$LINK" ] || rm -rf "$old" # the one before, and what a set-up left that was cut short
  done
  use "$LINK-$(date +%y%m%d-%H%M%S)-$$"
  say "1 of 4: a Python environment"
  "$PYTHON" -m venv "$VENV"
  say "2 of 4: Python packages"
  install -e ".[$(tr ' ' ',' <<<"$EXTRAS")]"
  say "3 of 4: Delta's jars"
  make_jars
  stamp
  say "4 of 4: a class-data archive, with which each job starts faster"
  make_archive
  put_in_place
}

# pip takes a package for installed once its metadata are there; the list of its files comes last.
forget_half_installed() {
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
  (cd "$ROOT" && "$PY" -m pip install --progress-bar off --disable-pip-version-check -c conf/constraints.txt "$@") | progress ||
    die "pip could not install keyfold's dependencies: the lines above say why. Put that right and run this again."
  case " $EXTRAS " in *" horovod "*) make_horovod ;; esac
  make_driver_python
}

# Of what pip says: the larger downloads, and that it installs.
progress() {
  local line words
  while IFS= read -r line; do
    case "$line" in
      *Downloading*" MB)" | *Downloading*" GB)") say "  downloads${line#*Downloading}" ;;
      "Installing collected packages:"*) words="${line//[^,]/}" && say "  installs $((${#words} + 1)) packages" ;;
    esac
  done
}

stamp() { printf '%s\n' "$(made_from)" "$EXTRAS" >"$STAMP.new" && mv "$STAMP.new" "$STAMP"; }

# An environment that was set up by an earlier release is a folder, which has to make way.
put_in_place() {
  ln -s "$(basename "$VENV")" "$VENV/link"
  "$PY" -c 'import os, sys
new, link = sys.argv[1:]
if os.path.isdir(link) and not os.path.islink(link):
    os.rename(link, f"{link}-before")
os.replace(new, link)' "$VENV/link" "$LINK"
}

# A wheel fits one Python and one torch, so it is kept by what it was built for.
horovod_wheel() {
  local folder
  folder="${XDG_CACHE_HOME:-$HOME/.cache}/keyfold/torch-$(sed -n 's/^torch==//p' "$ROOT/conf/constraints.txt")-python$(python_version "${PYTHON:-$PY}")"
  echo "$folder/$(ls "$folder" 2>/dev/null | grep "^horovod-$HOROVOD-.*whl$" | head -n 1)"
}

make_horovod() {
  local wheel log tools
  wheel="$(horovod_wheel)"
  if [ ! -f "$wheel" ]; then
    say "building Horovod $HOROVOD for this torch, once: about 5 minutes"
    tools="$(mktemp -d)"
    # torch's headers want C++20, which Horovod's own build files do not ask for; its own count on what g++ 12 includes by itself, and on a
    # policy that CMake 4 has left behind.
    printf '#!/bin/sh\nexec g++ "$@" -std=c++20 -include cstdint -include string\n' >"$tools/c++"
    chmod +x "$tools/c++"
    mkdir -p "$wheel"
    log="$tools/log"
    {
      "$PY" -m pip install --quiet --disable-pip-version-check --target "$tools/packages" 'setuptools<80' wheel &&
        PYTHONPATH="$tools/packages" CXX="$tools/c++" CMAKE_POLICY_VERSION_MINIMUM=3.5 HOROVOD_WITH_PYTORCH=1 HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_MPI=1 HOROVOD_WITHOUT_TENSORFLOW=1 \
          HOROVOD_WITHOUT_MXNET=1 "$PY" -m pip wheel --quiet --disable-pip-version-check --no-build-isolation --no-deps -w "$tools" "horovod==$HOROVOD"
    } >"$log" 2>&1 || { tail -n 20 "$log"; die "Horovod could not be built: the lines above say why; all of them are in $log."; }
    # Under another name first: a copy may be cut short.
    local file
    for file in "$tools"/horovod-*.whl; do
      mv "$file" "$wheel/.$$" && mv "$wheel/.$$" "$wheel/$(basename "$file")"
    done
    rm -rf "$tools"
    wheel="$(horovod_wheel)"
  fi
  "$PY" -m pip install --quiet --disable-pip-version-check --no-deps "$wheel"
}

# spark-submit merges a driver's stderr into its stdout; this gives it back its own, so that results stay apart from progress.
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
    die "Spark could not resolve Delta's jars: the lines above say why. Behind a mirror, name it by spark.jars.repositories or" \
      "spark.jars.ivySettings in \$SPARK_CONF_DIR/spark-defaults.conf; then run this again."
  }
}

archive_made_from() { { echo "$JAVA_VERSION" && sed -n 1p "$STAMP" && tr '\n' '\0' <"$JARS" | xargs -0 ls -ln; } | cksum; }

archive_ready() { [ -f "$JAVA_OPTIONS" ] && [ "$(cat "$ARCHIVE.for" 2>/dev/null)" = "$(archive_made_from)" ]; }

# The doctor's trial is the rehearsal. Where the JVM makes no archive, jobs do without.
make_archive() {
  local logs="\"-Dlog4j2.configurationFile=$ROOT/conf/log4j2.properties\""
  rm -f "$ARCHIVE" "$ARCHIVE.for"
  echo "$logs" >"$JAVA_OPTIONS"
  if rehearse "\"-XX:ArchiveClassesAtExit=$ARCHIVE\" -Xlog:disable $logs" && [ -f "$ARCHIVE" ]; then
    echo "\"-XX:SharedArchiveFile=$ARCHIVE\" -Xlog:disable -Xlog:all=error:stderr $logs" >"$JAVA_OPTIONS"
  else
    rm -f "$ARCHIVE"
    say "this JVM made no class-data archive, so each start takes some seconds more (to try again: rm $LINK/spark.jsa.for)"
  fi
  archive_made_from >"$ARCHIVE.for"
}

# Conf folders of a user are left out: the JVM makes no archive where a folder with files is on its class path.
rehearse() {
  local state code=0
  state="$(mktemp -d)"
  env -u SPARK_CONF_DIR -u HADOOP_CONF_DIR -u YARN_CONF_DIR SPARK_SUBMIT_OPTS="$1" KEYFOLD_HOME="$state" SPARK_LOCAL_IP=127.0.0.1 \
    SPARK_HOME="$(spark_home)" PYSPARK_PYTHON="$PY" PYSPARK_DRIVER_PYTHON="$PY" "$(spark_home)/bin/spark-submit" \
    --properties-file "$ROOT/conf/spark-defaults.conf" --jars "$(paste -sd, "$JARS")" "$ROOT/jobs/doctor.py" >"$state/log" 2>&1 || code=$?
  rm -rf "$state"
  return $code
}

ready() { venv_ready && jars_ready && archive_ready; }

# Prints nothing on stdout. The kernel holds the lock for us, through descriptor 9, and lets go of it however we end.
set_up() {
  local extra
  for extra in "$@"; do
    extras_there | grep -qxF "$extra" || die "there is no extra \`$extra\`$(extras_there | meant "$extra"); there are: $(extras_there | paste -sd' ' -)"
  done
  EXTRAS="local $*"
  need_java
  ! ready || return 0
  need_python
  exec 9>"$ROOT/.venv.lock"
  "$PYTHON" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
  if ! ready; then
    venv_ready || make_venv
    jars_ready || make_jars
    archive_ready || make_archive
  fi >&2
  exec 9>&-
}

# --- handing over ---

# What the user gave for an option: by its flag, else by --conf, else in a properties file of their own.
given() {
  local flag="$1" key="$2" by_flag="" by_conf="" previous="" word
  for word in ${OPTIONS[@]+"${OPTIONS[@]}"}; do
    case "$previous" in --conf | -c) word="--conf=$word" ;; "$flag") by_flag="$word" ;; esac
    case "$word" in "$flag="*) by_flag="${word#*=}" ;; "--conf=$key="*) by_conf="${word#--conf="$key"=}" ;; esac
    previous="$word"
  done
  echo "${by_flag:-${by_conf:-$(in_their_file "$key")}}"
}

in_their_file() {
  [ ! -f "$THEIR_FILE" ] || sed -n "s/^[[:space:]]*$(sed 's/\./\\./g' <<<"$1")[[:space:]=:]\{1,\}//p" "$THEIR_FILE" | tail -n 1
}

find_their_file() {
  THEIR_FILE=""
  THEIR_FILE="$(given --properties-file -)"
  local default="${SPARK_CONF_DIR:-$SPARK_HOME/conf}/spark-defaults.conf"
  [ -n "$THEIR_FILE" ] || [ ! -f "$default" ] || THEIR_FILE="$default"
}

# A user's own Spark is kept where it is of the release that this environment has.
choose_spark() {
  local ours theirs="${SPARK_HOME:-}"
  ours="$(spark_home)"
  SPARK_HOME="$ours"
  [ -n "$theirs" ] && [ "$theirs" != "$ours" ] || return 0
  if ls "$theirs"/jars/spark-core_2.13-4.1.* >/dev/null 2>&1; then
    SPARK_HOME="$theirs"
  else
    say "SPARK_HOME is $theirs, which is not Spark 4.1; using $ours"
  fi
}

add_options() {
  local master jars delta_given
  master="$(given --master spark.master)"
  case "${master:-${MASTER:-local}}" in local*) export SPARK_LOCAL_IP="${SPARK_LOCAL_IP:-127.0.0.1}" ;; esac
  jars="$(given --jars spark.jars)"
  delta_given="$(given --packages spark.jars.packages),$jars"
  case "$delta_given" in *delta-spark_*) ;; *) OPTIONS+=(--jars "$(paste -sd, "$JARS")${jars:+,$jars}") ;; esac
  [ -n "$THEIR_FILE" ] || OPTIONS=(--properties-file "$ROOT/conf/spark-defaults.conf" ${OPTIONS[@]+"${OPTIONS[@]}"})
  [ ! -t 2 ] || OPTIONS=(--conf spark.ui.showConsoleProgress=true "${OPTIONS[@]}")
}

# In cluster mode the driver runs elsewhere, where our paths mean nothing.
set_environment() {
  export SPARK_HOME SPARK_SUBMIT_OPTS
  SPARK_SUBMIT_OPTS="$(cat "$JAVA_OPTIONS") \"-Dderby.system.home=$KEYFOLD_HOME\" ${SPARK_SUBMIT_OPTS:-}"
  [ "$(given --deploy-mode spark.submit.deployMode)" != cluster ] || return 0
  export PYSPARK_PYTHON="${PYSPARK_PYTHON:-$PY}" PYSPARK_DRIVER_PYTHON="${PYSPARK_DRIVER_PYTHON:-$VENV/bin/driver-python}"
}

# A place by which the driver can open our stderr again: the terminal, or a pipe that is emptied into it.
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

hand_over() {
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
    *) [ -f "$ROOT/jobs/$1.py" ] || die "there is no job \`$1\`$(jobs_there | meant "$1"); the jobs are: $(jobs_there | paste -sd' ' -)"
      echo "$ROOT/jobs/$1.py" ;;
  esac
}

jobs_there() { (cd "$ROOT/jobs" && ls ./*.py | sed 's/^\.\///;s/\.py$//'); }

# Of the names that it reads the one that differs least, by letters that are put in, left out or changed: at most a third of them.
meant() {
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

# Before a set-up of minutes.
need_confs() {
  local word
  for word in "$@"; do
    case "$word" in *=*) ;; *.yaml | *.yml) [ -f "$word" ] || die "there is no conf \`$word\`" ;; esac
  done
}

# What can be refused without a JVM: options, the conf, the period, missing files. A driver in cluster mode sees other files than we do.
check() {
  local code=0
  case "$1" in "$ROOT"/jobs/*) ;; *) return 0 ;; esac
  [ "$(given --deploy-mode spark.submit.deployMode)" != cluster ] || return 0
  "$PY" -P -m keyfold.cli.preflight "$@" || code=$?
  [ $code -eq 99 ] || exit $code
}

prepare() {
  absolute_home
  choose_spark
  find_their_file
}

# What a conf needs that is not always there.
extras_of() {
  local word
  for word in "$@"; do
    case "$word" in *.yaml | *.yml) ;; *) continue ;; esac
    [ -f "$word" ] || continue
    ! grep -Eq '^[^#]*(^|[ {])tune:' "$word" || echo tune
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
  local job arguments=() plain=""
  job="$(job_file "$1")"
  shift
  while [ $# -gt 0 ] && [ "$1" != -- ]; do arguments+=("$1"); shift; done
  [ $# -eq 0 ] || shift
  OPTIONS=("$@")
  ! head -n 5 "$job" | grep -q '^# no spark' || plain=yes
  if venv_current; then
    absolute_home
    [ -z "$plain" ] || exec "$PY" "$job" ${arguments[@]+"${arguments[@]}"}
    prepare
    check "$job" ${arguments[@]+"${arguments[@]}"}
    # shellcheck disable=SC2046
    set_up $(extras_of ${arguments[@]+"${arguments[@]}"})
  else
    case " ${arguments[*]-} " in *" --help "* | *" -h "*) usage; exit 0 ;; esac
    [ -n "$plain" ] || need_confs ${arguments[@]+"${arguments[@]}"}
    # shellcheck disable=SC2046
    set_up $(extras_of ${arguments[@]+"${arguments[@]}"})
    absolute_home
    [ -z "$plain" ] || exec "$PY" "$job" ${arguments[@]+"${arguments[@]}"}
    prepare
    check "$job" ${arguments[@]+"${arguments[@]}"}
  fi
  hand_over "$job" ${arguments[@]+"${arguments[@]}"}
}

main "$@"
