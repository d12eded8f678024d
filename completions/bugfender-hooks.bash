# bash splits words at : = and @ and leaves quotes to the function: words are joined and unquoted for the program, which
# knows whole values, and what it offers is cut and quoted for the line.
_clap_complete_bugfender_hooks() {
    local line=${COMP_LINE:0:${COMP_POINT:-0}} word rest index cword=0 words=()
    [[ -n $line ]] || line="${COMP_WORDS[*]:0:COMP_CWORD}${COMP_CWORD:+ }$2"
    for ((index = 0; index <= COMP_CWORD; index++)); do
        rest=${line#"${line%%[![:space:]]*}"}
        # The last word ends at the cursor.
        if ((index == COMP_CWORD)); then word=$rest; else word=${COMP_WORDS[index]}; fi
        if ((${#words[@]} > 0)) && [[ $rest == "$line" ]]; then
            words[cword]+=$word
        else
            cword=${#words[@]}
            words[cword]=$word
        fi
        line=${rest#"$word"}
    done

    # The last word as the program gets it, the quote that is open in it, and where the part begins that bash replaces.
    local raw=${words[cword]} plain= quote= start=0 char
    for ((index = 0; index < ${#raw}; index++)); do
        char=${raw:index:1}
        if [[ $char == \\ && $quote != \' ]]; then
            ((++index))
            plain+=${raw:index:1}
        elif [[ -n $quote ]]; then
            if [[ $char == "$quote" ]]; then quote=; else plain+=$char; fi
        elif [[ $char == [\"\'] ]]; then
            quote=$char
            start=${#plain}
        else
            plain+=$char
            if [[ $char == [:=] && $COMP_WORDBREAKS == *"$char"* ]]; then start=${#plain}; fi
            # bash replaces this one with what follows it.
            if [[ $char == @ && $COMP_WORDBREAKS == *@* ]]; then start=$((${#plain} - 1)); fi
        fi
    done
    words[cword]=$plain

    local _CLAP_COMPLETE_SPACE=true
    if compopt +o nospace 2>/dev/null; then _CLAP_COMPLETE_SPACE=false; fi
    local offered
    offered=$(
        _CLAP_IFS=$'\013' \
        _CLAP_COMPLETE_INDEX=$cword \
        _CLAP_COMPLETE_COMP_TYPE=${COMP_TYPE:-9} \
        _CLAP_COMPLETE_SPACE=$_CLAP_COMPLETE_SPACE \
        _BUGFENDER_HOOKS_SCRIPT_QUOTES=1 \
        BUGFENDER_HOOKS_COMPLETE=bash \
        bugfender-hooks -- "${words[@]}"
    ) || { unset COMPREPLY; return; }
    COMPREPLY=()
    while [[ -n $offered ]]; do
        word=${offered%%$'\013'*}
        offered=${offered#"$word"}
        offered=${offered#$'\013'}
        local end=
        if [[ $_CLAP_COMPLETE_SPACE == true && $word == *" " ]]; then
            word=${word% }
            end=" "
        fi
        word=${word:start}
        case $quote in
            \') word=${word//\'/\'\\\'\'} ;;
            \")
                word=${word//\\/\\\\}
                word=${word//\"/\\\"}
                word=${word//\$/\\\$}
                word=${word//\`/\\\`}
                ;;
            *) printf -v word %q "$word" ;;
        esac
        COMPREPLY+=("$word$end")
    done
    if [[ $_CLAP_COMPLETE_SPACE == false && "${COMPREPLY-}" =~ [=/:]$ ]]; then compopt -o nospace; fi
}
if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -o nospace -o bashdefault -o nosort -F _clap_complete_bugfender_hooks bugfender-hooks
else
    complete -o nospace -o bashdefault -F _clap_complete_bugfender_hooks bugfender-hooks
fi
