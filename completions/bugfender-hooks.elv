
set edit:completion:arg-completer[bugfender-hooks] = { |@words|
    var index = (count $words)
    set index = (- $index 1)

    put (env _CLAP_IFS="\n" _CLAP_COMPLETE_INDEX=(to-string $index) BUGFENDER_HOOKS_COMPLETE="elvish" bugfender-hooks -- $@words) | to-lines
}

