function __bugfender_hooks_token
    set --local token (commandline --current-token --cut-at-cursor)
    string unescape -- "$token"; or string unescape -- "$token'"; or string unescape -- "$token\""
end
complete --keep-order --exclusive --command bugfender-hooks --arguments "(BUGFENDER_HOOKS_COMPLETE=fish bugfender-hooks -- (commandline --current-process --tokenize --cut-at-cursor) (__bugfender_hooks_token))"
