# bash completion for keel(1). It asks the command itself, so it offers what that version has.

_keel() {
	local IFS=$'\n' # candidates may have spaces in them
	local program=${COMP_WORDS[0]} words=() starts=() rest=$COMP_LINE piece= i
	COMPREPLY=()

	# Readline takes words apart at = and : as well; here those with no space between them are one.
	for ((i = 0; i <= COMP_CWORD; i++)); do
		piece=${COMP_WORDS[i]}
		if ((i > 1)) && [[ $rest != [[:space:]]* && ($piece == [=:]* || ${COMP_WORDS[i - 1]} == *[=:]) ]]; then
			words[${#words[@]} - 1]+=$piece
		else
			words+=("$piece")
			starts+=("$i")
		fi
		rest=${rest#*"$piece"}
	done
	local word=${words[${#words[@]} - 1]} value=
	local done_with=${word%"$piece"} # what readline keeps
	[[ $piece == [=:] ]] && done_with=$word

	[[ $program == '~/'* ]] && program=$HOME${program:1}
	type -P -- "$program" >/dev/null || program=keel
	local lines
	mapfile -t lines < <("$program" __complete "${words[@]:1}" 2>/dev/null)
	((${#lines[@]})) || return 0

	local option=
	value=$word
	if [[ $word == --*=* ]]; then
		option=${word%%=*}=
		value=${word#*=}
	fi
	local candidate
	for candidate in "${lines[@]:1}"; do
		candidate=${candidate%%$'\t'*}
		[[ $candidate == "$value"* ]] || continue
		printf -v candidate %q "$candidate"
		candidate=$option$candidate
		COMPREPLY+=("${candidate#"$done_with"}")
	done

	local how=
	case ${lines[0]} in
	files) how=-f ;;
	folders) how=-d ;;
	"command "*)
		local first=${lines[0]#command }
		if declare -F _command_offset >/dev/null; then
			_command_offset "${starts[first]}"
			return
		fi
		how=-f
		((first < ${#words[@]} - 1)) || how=-c
		;;
	esac
	[[ $how ]] || return 0
	compopt -o filenames 2>/dev/null # fails when nobody completes: in tests
	for candidate in $(compgen "$how" -- "$value"); do
		candidate=$option$candidate
		COMPREPLY+=("${candidate#"$done_with"}")
	done
	# A command may be in a folder, too.
	[[ $how != -c || $value != */* ]] || COMPREPLY=($(compgen -f -- "$value"))
}

complete -F _keel keel
