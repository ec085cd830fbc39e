#!/usr/bin/env bash
# One row of results from nothing: train (start again after a kill: it goes on), evaluate the test
# images, keep the files in results/. Lite rows also get what is measured beside them.
#
#     tools/reproduce.sh ROW [KEY VALUE ...]
#
# ROW: sparse_rcnn_lite ssd_lite            about an hour and half an hour on one CPU core
#      sparse_rcnn_lite_voc ssd_lite_voc    less, as the split has fewer training images
#      sparse_rcnn_r50 ssd512               one GPU; never run in full so far. results/ has six
#                                           minutes of each, by tools/gpu_rows.sh
# OUTPUT (default output) is the folder for what is not kept, RESULTS (default results) for the rest.
set -euo pipefail
cd "$(dirname "$0")/.."
row=${1-}
shift || true
output=${OUTPUT:-output}
split=paper
declare -a more=()
case $row in
    sparse_rcnn_lite | sparse_rcnn_lite_voc) name="Sparse R-CNN lite" config=SparseRCNN/sparse_rcnn_lite_bccd ;;
    ssd_lite | ssd_lite_voc) name="SSD lite" config=SSD/ssd_lite_bccd ;;
    sparse_rcnn_r50) name="Sparse R-CNN, full" config=SparseRCNN/sparse_rcnn_r50_scratch_bccd ;;
    ssd512) name="SSD, full" config=SSD/ssd512_vgg16_scratch_bccd ;;
    *)
        echo "reproduce.sh: there is no row '$row'; use one of sparse_rcnn_lite ssd_lite" \
            "sparse_rcnn_lite_voc ssd_lite_voc sparse_rcnn_r50 ssd512 (ROW_tta and" \
            "second_annotation/ROW come with the lite rows)" >&2
        exit 2
        ;;
esac
case $row in # as many epochs as on the paper's split with Sparse R-CNN, two thirds with SSD
    sparse_rcnn_lite_voc) split=voc more=(SOLVER.MAX_ITER 2880) ;;
    ssd_lite_voc) split=voc more=(SOLVER.MAX_ITER 1600) ;;
esac
data=(DATASETS.TRAIN "('bccd_${split}_train',)" DATASETS.VAL "('bccd_${split}_val',)"
    DATASETS.TEST "('bccd_${split}_test',)")

run() {
    echo "\$ python $*"
    python "$@"
}

evaluate() { # OUTPUT_DIR WEIGHTS [KEY VALUE ...]
    run train_net.py --config-file "configs/$config.yaml" --eval-only "${data[@]}" \
        OUTPUT_DIR "$1" MODEL.WEIGHTS "$2" "${@:3}"
}

keep() { # OUTPUT_DIR ROW [NOTE]
    run tools/keep_results.py --from "$1" --row "$2" --name "$name" --note "${3:-}" \
        --results "${RESULTS:-results}"
}

run train_net.py --config-file "configs/$config.yaml" --resume "${data[@]}" "${more[@]}" \
    OUTPUT_DIR "$output/$row" "$@"
best=$output/$row/model_best.pth
evaluate "$output/$row" "$best" "$@"
keep "$output/$row" "$row"
run tools/analyse_errors.py --results "${RESULTS:-results}/$row" --dataset "bccd_${split}_test" \
    --output "${RESULTS:-results}/$row"
[[ $row == *_lite ]] || exit 0

# Four views of every image.
evaluate "$output/${row}_tta" "$best" TEST.AUG.ENABLED True "$@"
keep "$output/${row}_tta" "${row}_tta" "4 views"

# True counts: score thresholds chosen on the second annotation, and those of BCCD beside them.
counting=$output/$row/model_counting.pth
run tools/choose_operating_points.py --config-file "configs/$config.yaml" \
    --dataset bccd_relabelled_paper_val --output "$counting" MODEL.WEIGHTS "$best" "$@"
data=(DATASETS.TEST "('bccd_relabelled_paper_test',)")
evaluate "$output/${row}_relabelled" "$counting" "$@"
keep "$output/${row}_relabelled" "second_annotation/$row"
evaluate "$output/${row}_relabelled_bccd" "$best" "$@"
keep "$output/${row}_relabelled_bccd" "second_annotation/${row}_bccd_thresholds" \
    "thresholds chosen on BCCD's labels"
