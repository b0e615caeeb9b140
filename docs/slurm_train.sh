#!/bin/bash
# Train on a SLURM cluster with one process per GPU. From the project's folder, in its environment:
#
#   sbatch docs/slurm_train.sh --config-file configs/ade20k/icpc_R50.yaml [KEY VALUE ...]
#
# 2 machines with 4 GPUs each; what your cluster wants besides (--partition, --account) goes here or to sbatch.
#SBATCH --job-name=icpc
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=6
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@120
#SBATCH --output=slurm-%j.log
set -euo pipefail

# What torchrun would tell each process.
MACHINES=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
MASTER_ADDR=${MACHINES%%$'\n'*}
MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
export MASTER_ADDR MASTER_PORT WORLD_SIZE=$SLURM_NTASKS LOCAL_WORLD_SIZE=$SLURM_NTASKS_PER_NODE

# A job that is queued again goes on where it was: --resume starts anew where there is nothing to resume.
srun --kill-on-bad-exit=1 bash -c \
    'RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID exec python train_net.py --resume "$@"' train "$@"
