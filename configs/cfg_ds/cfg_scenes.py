# Rendered picture-book scenes: 18 things and the background, in VOC's layout.
_base_ = "../base_config.py"

model = dict(class_file="configs/cls_scenes.txt")
test_dataloader = dict(
    dataset=dict(
        type="ScenesDataset",
        data_root="scenes",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
        ann_file="ImageSets/Segmentation/val.txt",
    )
)
# Rendered into the data root where it is missing; seed 0 and on: the miniatures never saw these scenes.
rendered = dict(format="voc", count=50, seed=0, size_hw=(320, 448))
