#!/usr/bin/env bash
# What needs a GPU, within the minutes of a lent one: the CUDA tests, the GPU column of the benchmark
# (against the published code, in the same run), then the full models from scratch, as long as fits.
#
#     tools/gpu_rows.sh MINUTES [PART ...]     PART: tests benchmark rows; default: all, in this order
#
# OUT (default output/gpu) gets results/<row>/, performance/*.json and the logs, a few megabytes in
# all; OUTPUT (default output/gpu_training) the checkpoints, some gigabytes. The rows train side by
# side, and share what is left of the minutes. TINY=1 runs all of it in small on a CPU.
#
# Python needs PyTorch with CUDA and the packages of requirements.in without openvino; data: BCCD
# below $DETECTRON2_DATASETS.
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=$1
shift
started=$SECONDS
out=${OUT:-output/gpu}
output=${OUTPUT:-output/gpu_training}
mkdir -p "$out/performance" "$out/results" "$out/logs" "$output"
scale=() seconds=2.5 fixed=() timed=40
if [[ ${TINY:-} ]]; then
    export CUDA_VISIBLE_DEVICES=
    seconds=0.1 timed=1
    scale=(SOLVER.IMS_PER_BATCH 2 INPUT.MIN_SIZE_TRAIN "(64,)" INPUT.MIN_SIZE_TEST 64
        DATALOADER.NUM_WORKERS 0 MODEL.RESNETS.DEPTH 18 MODEL.RESNETS.RES2_OUT_CHANNELS 64
        MODEL.SparseRCNN.NUM_PROPOSALS 20 MODEL.SparseRCNN.NUM_HEADS 1)
    fixed=(SOLVER.MAX_ITER 2 TEST.EVAL_PERIOD 0 DATASETS.VAL "('bccd_paper_test',)")
fi

left() { # seconds of the minutes that are left
    echo $((minutes * 60 - SECONDS + started))
}

tests() {
    python -m pytest tests/test_cuda.py tests/projects -k cuda --durations=5 ||
        echo "gpu_rows.sh: some CUDA tests failed" >&2
}

benchmark() {
    local common=(--seconds "$seconds") half=(INFERENCE.DTYPE float16 SOLVER.AMP.ENABLED True)
    local lite=configs/SparseRCNN/sparse_rcnn_lite_bccd.yaml
    [[ ${TINY:-} ]] && common+=(--size 64 64 --opts "${scale[@]:2}") half=()
    local to="$out/performance"
    python tools/benchmark.py --reference --output "$to/reference.json" "${common[@]}"
    [[ ${TINY:-} ]] || python tools/benchmark.py --reference --output "$to/reference_fp16.json" \
        "${common[@]}" --opts "${half[@]}"
    [[ ${TINY:-} ]] || python tools/benchmark.py --reference --config-file $lite "${common[@]}" \
        --output "$to/reference_graphs.json" --opts "${half[@]}" INFERENCE.COMPILE True
    python tools/benchmark.py --output "$to/benchmark.json" "${common[@]}"
}

# NAME CONFIG [KEY VALUE ...]: train for $time seconds, of which imports and validation take a third.
train() {
    local row=$1 config=$2 log="$out/logs/$1.txt" iterations
    shift 2
    local opts=("$@" "${scale[@]}")
    iterations=$(python tools/fit_schedule.py --config-file "$config" --seconds $((time * 65 / 100)) \
        --timed $timed "${opts[@]}" 2>"$log" | tail -n 1) ||
        echo "gpu_rows.sh: $row cannot be trained; see $log" >&2
    touch "$output/$row.fitted"
    until [[ -e $output/sparse_rcnn_r50.fitted && -e $output/sparse_rcnn_r50_learnt.fitted &&
        -e $output/ssd512.fitted ]]; do sleep 0.5; done # they are measured side by side, too
    [[ $iterations ]] || return 0
    timeout "$time" python train_net.py --config-file "$config" "${opts[@]}" \
        SOLVER.MAX_ITER "$iterations" SOLVER.WARMUP_ITERS $((iterations / 12)) \
        TEST.EVAL_PERIOD $((iterations / 6 + 1)) SOLVER.CHECKPOINT_PERIOD 1000000 "${fixed[@]}" \
        OUTPUT_DIR "$output/$row" >>"$log" 2>&1 ||
        echo "gpu_rows.sh: $row ended early; its best checkpoint so far is evaluated" >&2
}

evaluate() { # NAME CONFIG TITLE NOTE [KEY VALUE ...]
    local row=$1 config=$2 title=$3 note=$4
    shift 4
    [[ -e $output/$row/model_best.pth ]] || return 0
    if ! python train_net.py --config-file "$config" --eval-only "$@" "${scale[@]}" \
        OUTPUT_DIR "$output/$row" MODEL.WEIGHTS "$output/$row/model_best.pth" \
        >>"$out/logs/$row.txt" 2>&1; then
        echo "gpu_rows.sh: $row cannot be evaluated; see $out/logs/$row.txt" >&2
        return 0
    fi
    python tools/keep_results.py --from "$output/$row" --row "$row" --name "$title" \
        --note "$note; $((time / 60)) minutes of a third of a GPU" --results "$out/results"
}

rows() {
    local time=$(($(left) - ${EVALUATION_SECONDS:-120}))
    local workers=$(($(getconf _NPROCESSORS_ONLN) / 3))
    # Batches of 16 images are enough for batch normalisation, which is faster than group's.
    local common=(DATALOADER.NUM_WORKERS $workers INPUT.ROTATE90 False SOLVER.EMA.DECAY 0.998
        INPUT.COPY_PASTE.PROB 0.5 "INPUT.UNLABELLED_IF_ABSENT" "('RBC',)")
    local r50=(configs/SparseRCNN/sparse_rcnn_r50_scratch_bccd.yaml)
    local norm=(MODEL.RESNETS.NORM BN MODEL.FPN.NORM BN)
    local published=(MODEL.SparseRCNN.PROPOSALS learnt MODEL.SparseRCNN.DENSE_WEIGHT 0.0
        MODEL.SparseRCNN.QUALITY_SCORES False)
    local ssd=(configs/SSD/ssd512_vgg16_scratch_bccd.yaml)
    rm -f "$output"/*.fitted
    train sparse_rcnn_r50 "${r50[0]}" "${common[@]}" "${norm[@]}" &
    train sparse_rcnn_r50_learnt "${r50[0]}" "${common[@]}" "${norm[@]}" "${published[@]}" &
    train ssd512 "${ssd[0]}" "${common[@]}" MODEL.VGG.NORM BN &
    wait
    evaluate sparse_rcnn_r50 "${r50[0]}" "Sparse R-CNN R50" "dense proposals" "${norm[@]}"
    evaluate ssd512 "${ssd[0]}" "SSD512 VGG-16" "from scratch" MODEL.VGG.NORM BN
    evaluate sparse_rcnn_r50_learnt "${r50[0]}" "Sparse R-CNN R50" "learnt proposals" "${norm[@]}" \
        "${published[@]}"
}

for part in "${@:-tests benchmark rows}"; do
    for one in $part; do
        echo "== $one, $(left) s left"
        $one
    done
done
echo "== done, $(left) s left"
