#!/usr/bin/env bash
# A real SLURM on this machine alone, with two pretend GPUs and no accounting, for tests:
#
#     tests/slurm/up.sh FOLDER && export SLURM_CONF=FOLDER/slurm.conf && sinfo; tests/slurm/down.sh FOLDER
#
# Needs Debian's slurm-wlm and munge, and root: exit code 3 where that is missing. All that it writes is in FOLDER.
set -euo pipefail
folder=$(mkdir -p "$1" && cd "$1" && pwd)
for program in munged slurmctld slurmd sbatch; do
    command -v "$program" >/dev/null || { echo "no $program here: apt-get install slurm-wlm munge" >&2; exit 3; }
done
(( EUID == 0 )) || { echo "only root can start a SLURM" >&2; exit 3; }
trap '"$(dirname "$0")/down.sh" "$folder"; tail -vn 5 "$folder"/*.log >&2' ERR

# Ports of its own: somebody else may test on this machine at the same time.
read -r controller node < <(python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in sockets))')
dd if=/dev/urandom of="$folder/munge.key" bs=128 count=1 status=none
chmod 600 "$folder/munge.key"
# Harmless device files: with plain ones, jobs would get no CUDA_VISIBLE_DEVICES.
mknod "$folder/gpu0" c 1 3 && mknod "$folder/gpu1" c 1 3
mkdir -p "$folder/state" "$folder/spool"
cat >"$folder/gres.conf" <<END
Name=gpu File=$folder/gpu[0-1]
END
cat >"$folder/slurm.conf" <<END
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$controller
SlurmdPort=$node
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
ReturnToService=2
GresTypes=gpu
NodeName=localhost NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 Gres=gpu:2
PartitionName=gpu Nodes=localhost Default=YES PriorityTier=1
PartitionName=urgent Nodes=localhost PriorityTier=2
END
export SLURM_CONF=$folder/slurm.conf
munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
    --log-file="$folder/munged.log" --seed-file="$folder/munge.seed" 2>/dev/null
slurmctld
slurmd -N localhost
for _ in $(seq 600); do
    [[ $(sinfo --noheader --format=%T 2>/dev/null | sort -u) == idle ]] && exit 0
    sleep 0.1
done
echo "no idle node after 60 s" >&2
false
