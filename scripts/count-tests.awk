# Adds up the closing lines of every test program of a run, for one plain line at the end.
/^test result: / {
    for (i = 1; i < NF; i++) {
        if ($(i + 1) ~ /^passed/) passed += $i
        if ($(i + 1) ~ /^failed/) failed += $i
        if ($(i + 1) ~ /^ignored/) skipped += $i
    }
}
END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped }
