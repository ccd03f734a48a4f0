# SPDX-License-Identifier: PostgreSQL
# Completion of pgvigil for bash; needs no other package. What there is to complete is asked of the program that is
# called, so that it fits that version: commands and options of its help, names of the file it would read.

# Commands: lines of the overview that are a name and a sentence.
_pgvigil_commands() {
    "$1" help 2>/dev/null | sed -n 's/^  \([a-z][a-z-]*\)  *[A-Z].*$/\1/p'
}

# Options of a command, each with its argument's name if it takes one: "--config FILE", "--watch=2s".
_pgvigil_options() {
    "$1" help "$2" 2>/dev/null |
        sed -n -e 's/^  \(-[a-zA-Z], \|    \)\(--[a-z-]*\)\(\[=[^]]*\]\| [A-Z][A-Z]*\)\{0,1\}\(  .*\|\)$/\2\3/p'
}

# Names of the entries of a section of the file.
_pgvigil_names() {
    local where=()
    [[ -n $3 ]] && where=(-c "$3")
    "$1" check --print "${where[@]}" 2>/dev/null | sed -n "/^$2:/,/^[a-z]/s/^  \([^ :\"]*\): # .*/\1/p"
}

# Values that an argument of that name may have. $1 program, $2 command, $3 option or nothing, $4 argument, $5 file,
# $6 word.
_pgvigil_values() {
    local section
    case $4 in
    FILE | PATH)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$6")
        return
        ;;
    FORMAT)
        # "table, json or csv; default table"
        set -- "$("$1" help "$2" 2>/dev/null | sed -n "s/^ .*$3 $4 *\([^;]*\).*/\1/p" | sed 's/,/ /g; s/ or / /')" "$6"
        ;;
    COMMAND)
        set -- "$(_pgvigil_commands "$1")" "$6"
        ;;
    *)
        local names=''
        for section in targets apps timeouts quotas; do
            case $section:$3:$4 in
            targets:--target:* | apps:--app:* | targets:*:*TARGET* | timeouts:*:*RULE* | quotas:*:*RULE*)
                names+=" $(_pgvigil_names "$1" "$section" "$5")"
                ;;
            esac
        done
        set -- "$names" "$6"
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
}

_pgvigil() {
    local program=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local command=${COMP_WORDS[1]} file='' option argument i
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "$(_pgvigil_commands "$program") --help --version" -- "$word")
        return
    fi
    # "--format=js" comes as three words.
    if [[ $word == = ]]; then
        word=
    elif [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    for ((i = 2; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i - 1]} == @(-c|--config) ]]; then
            [[ ${COMP_WORDS[i]} == = ]] && ((i++))
            file=${COMP_WORDS[i]}
        fi
    done
    [[ $before == -c ]] && before=--config
    local options=()
    while read -r option argument; do
        if [[ $option == "$before" && -n $argument ]]; then
            _pgvigil_values "$program" "$command" "$option" "$argument" "$file" "$word"
            return
        fi
        options+=("${option%%\[*}")
    done < <(_pgvigil_options "$program" "$command")
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "${options[*]}" -- "$word")
        return
    fi
    # "usage: pgvigil help [COMMAND]"
    argument=$("$program" help "$command" 2>/dev/null | sed -n '1s/^usage:.* \[\([A-Z|]*\)\]$/\1/p')
    if [[ -n $argument ]]; then
        _pgvigil_values "$program" "$command" "" "$argument" "$file" "$word"
    fi
}

complete -F _pgvigil pgvigil
