"""Completion scripts for bash and zsh: jobs, their options, and files."""

from collections.abc import Mapping

from keyfold.cli.command import Command
from keyfold.cli.parser import option_names

_BASH = """\
# Completion of keyfold for bash. For this shell: eval "$(keyfold completion bash)"
_keyfold() {
  local word="${COMP_WORDS[COMP_CWORD]}" options=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "%(jobs)s" -- "$word"))
    return
  fi
  case "$word" in
    -*)
      case "${COMP_WORDS[1]}" in
%(options)s
      esac
      COMPREPLY=($(compgen -W "$options" -- "$word"))
      ;;
    *) COMPREPLY=($(compgen -f -- "$word")) ;;
  esac
}
complete -o filenames -F _keyfold keyfold
"""
_ZSH = """\
#compdef keyfold
# Completion of keyfold for zsh. After compinit: eval "$(keyfold completion zsh)"
_keyfold() {
  local -a jobs options
  if (( CURRENT == 2 )); then
    jobs=(
%(jobs)s
    )
    _describe -t jobs job jobs
  elif [[ $PREFIX == -* ]]; then
    case $words[2] in
%(options)s
    esac
    compadd -- $options
  else
    _files
  fi
}
compdef _keyfold keyfold
"""


def completion_script(shell: str, commands: Mapping[str, Command]) -> str:
    """The completion script for `bash` or `zsh`."""
    options = {name: option_names(command.parser(f"keyfold {name}")) for name, command in commands.items()}
    if shell == "bash":
        cases = "\n".join(f'        {name}) options="{" ".join(names)}" ;;' for name, names in options.items())
        return _BASH % {"jobs": " ".join([*commands, "completion"]), "options": cases}
    jobs = "\n".join(f"      {_quoted(f'{name}:{command.summary}')}" for name, command in commands.items())
    cases = "\n".join(f"      {name}) options=({' '.join(names)}) ;;" for name, names in options.items())
    return _ZSH % {"jobs": jobs, "options": cases}


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
