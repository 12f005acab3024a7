#!/usr/bin/env bash
# Ends the SLURM that up.sh has started, with the jobs on it: tests/slurm/down.sh FOLDER
folder=$(cd "$1" && pwd)
export SLURM_CONF=$folder/slurm.conf
timeout 10 scancel --user="$(id -un)" 2>/dev/null
for _ in $(seq 50); do
    [[ $(timeout 10 squeue --noheader 2>/dev/null) ]] || break
    sleep 0.1
done
for service in slurmd slurmctld munged; do
    [[ -s $folder/$service.pid ]] || continue
    pid=$(<"$folder/$service.pid")
    kill "$pid" 2>/dev/null
    for _ in $(seq 50); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null
done
exit 0
