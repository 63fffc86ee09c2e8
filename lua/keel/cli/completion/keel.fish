# fish completion for keel(1). It asks the command itself, so it offers what that version has.

function __keel_complete
    set -l words (commandline --tokenize --current-process --cut-at-cursor)
    set -l word (commandline --current-token --cut-at-cursor)
    set -l program $words[1]
    type --query -- $program; or set program keel
    set -e words[1]
    set -l answer ($program __complete $words $word 2>/dev/null)
    set --query answer[1]; or return

    # Of --name=value the values are offered.
    set -l option (string match --regex -- '^--[^=]*=' $word)
    for line in $answer[2..-1]
        printf '%s%s\n' "$option" $line
    end
    set -l value (string sub --start (math 1 + (string length -- "$option")) -- $word)
    switch $answer[1]
        case files
            printf "$option%s\n" (complete --do-complete "cat $value")
        case folders
            printf "$option%s\n" (__fish_complete_directories "$value")
        case 'command *'
            # The rest of the line is a command of its own.
            set -l first (string replace 'command ' '' -- $answer[1])
            set -l rest
            test $first -le (count $words); and set rest (string escape -- $words[$first..-1])
            complete --do-complete "$rest $word"
    end
end

complete --command keel --no-files --arguments '(__keel_complete)'
